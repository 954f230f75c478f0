"""Names and ids from the hub for the completion scripts: plain read-only SQLite, no error, nothing made."""

from __future__ import annotations


def main(arguments: tuple[str, ...]) -> int:
    """Print a candidate a line for ``KIND PREFIX``."""
    return 0
