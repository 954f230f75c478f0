"""``llmctl metric``: the user's own numbers over time, and usage for monitoring systems."""
