"""``python -m llmctl``."""

from llmctl.entry import main

main()
