"""``llmctl thread``: the threads behind chats."""
