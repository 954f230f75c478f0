"""``llmctl ref``: references from one record to another."""
