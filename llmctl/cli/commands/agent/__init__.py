"""``llmctl agent``: instructions, tools and options on top of a connection, used in persistent sessions."""
