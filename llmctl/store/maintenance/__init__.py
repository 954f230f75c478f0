"""Backup, integrity checks, pruning, scrubbing and deletion."""
