"""Export of conversations and whole hubs, and import into another hub."""
