"""``llmctl chats``: list, read and change conversations."""
