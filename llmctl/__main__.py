"""``python -m llmctl``."""

from llmctl._fastpath import main

main()
