"""llmctl: a scriptable hub for language models, in one SQLite file you own."""

__version__ = "0.1.0"
