"""``llmctl db``: the hub file."""
