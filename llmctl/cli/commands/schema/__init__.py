"""``llmctl schema``: the hub's tables, as SQL and for other tools."""
