"""``llmctl message``: single messages of threads."""
