"""Fakes of systems outside llmctl, such as servers that fail in ways real ones rarely do."""
