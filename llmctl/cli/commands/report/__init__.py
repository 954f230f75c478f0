"""``llmctl report``: a page that shows where the tokens, the money and the time went."""
