"""How hard a model shall think, for hosts that take a word instead of a number of tokens."""

from __future__ import annotations

#: Where a host wants a level but the user named tokens: the most tokens each level stands for.
_LEVELS = (("none", 0), ("low", 2048), ("medium", 12288))


def level_of(wanted: str | int) -> str:
    """Return the word for an effort: itself, or the lowest that allows that many tokens."""
    if isinstance(wanted, str):
        return wanted
    return next((level for level, most in _LEVELS if wanted <= most), "high")
