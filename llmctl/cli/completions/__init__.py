"""Completion scripts, one module per shell. Only the generator imports them; commands and flags are static."""
