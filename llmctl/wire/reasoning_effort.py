"""Convert reasoning effort between levels and token budgets."""

from __future__ import annotations

#: Maximum thinking tokens of each level.
_LEVELS = {"none": 0, "low": 2048, "medium": 12_288, "high": 24_576}


def to_effort_level(effort: str | int) -> str:
    """Return the level of an effort; for a number, the lowest level that allows that many tokens."""
    if isinstance(effort, str):
        return effort
    return next((level for level, max_tokens in _LEVELS.items() if effort <= max_tokens), "high")


def to_token_budget(effort: str | int) -> int:
    """Return the number of thinking tokens of an effort."""
    return effort if isinstance(effort, int) else _LEVELS.get(effort, _LEVELS["high"])


def raise_output_limit(limit: object, thinking: int) -> object:
    """Return an output limit that includes thinking, raised if thinking alone would use it up."""
    is_number = isinstance(limit, int) and not isinstance(limit, bool)
    return limit + thinking if is_number and limit <= thinking else limit  # type: ignore[operator]
