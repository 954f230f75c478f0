"""``llmctl model``: models, their prices, and aliases for them."""
