"""``llmctl settings``: defaults of the hub that flags and the environment override."""
