"""Create, check and clean the hub."""
