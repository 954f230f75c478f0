"""``llmctl connection``: named ways to reach a model."""
