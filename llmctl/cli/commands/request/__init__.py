"""``llmctl request``: every request sent to a provider, row by row."""
