"""``llmctl agent session``: what ties an agent to a chat; it outlives the agent's code."""
