"""The Python API: hubs, chats, agent sessions and streams. Import its names from ``llmctl``."""
