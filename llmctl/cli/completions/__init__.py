"""Completion scripts, one file a shell. Only the generator opens this: names and flags are static in the scripts."""
