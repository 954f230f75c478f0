"""``llmctl job``: run and manage background jobs."""
