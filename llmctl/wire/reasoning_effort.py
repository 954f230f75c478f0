"""How hard a model shall think: in words, in tokens, and what that leaves of an answer's limit."""

from __future__ import annotations

#: The most tokens that each word stands for.
_LEVELS = {"none": 0, "low": 2048, "medium": 12_288, "high": 24_576}


def level_of(wanted: str | int) -> str:
    """Return the word for an effort: itself, or the lowest that allows that many tokens."""
    if isinstance(wanted, str):
        return wanted
    return next((level for level, most in _LEVELS.items() if wanted <= most), "high")


def tokens_of(wanted: str | int) -> int:
    """Return the tokens for an effort: itself, or what its word stands for."""
    return wanted if isinstance(wanted, int) else _LEVELS.get(wanted, _LEVELS["high"])


def with_room(limit: object, thinking: int) -> object:
    """Return the limit of an answer against which thinking counts, raised where that would leave nothing of it."""
    is_number = isinstance(limit, int) and not isinstance(limit, bool)
    return limit + thinking if is_number and limit <= thinking else limit  # type: ignore[operator]
