"""``llmctl tool``: tools that models and people run, and their invocations."""
