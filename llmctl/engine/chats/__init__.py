"""Finding, forking and rewinding chats, and what is attached to a message."""
