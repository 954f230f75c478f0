"""Amounts of US dollars as people read them."""

from __future__ import annotations


def dollars(amount: float) -> str:
    """Return such as ``$0.0041``: four digits, and more only where these would hide that it is not nothing."""
    return f"${amount:.4f}" if amount == 0 or amount >= 0.0001 else f"${amount:.8f}"
