"""Numbers in what OpenAI and the hosts that copy it say of usage: tokens and dollars, wrong ones left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: xAI counts in units of 1e-10 dollars.
_USD_PER_TICK = 1e-10
_TOO_MANY = 1e15


def cost_of(data: Mapping[str, Any]) -> float | None:
    """Return US dollars. A plain 0 is a price (free models); the 0 of a sum or of ticks means not computed:

    Perplexity sends it in every chunk but the last, Azure for models it bills itself.
    """
    cost = data.get("cost")
    if isinstance(cost, dict):
        return number_of(cost.get("total_cost")) or None
    if (plain := number_of(cost)) is not None:
        return float(plain)
    return (number_of(data.get("cost_in_usd_ticks")) or 0) * _USD_PER_TICK or None


def number_of(value: object) -> float | None:
    """Return a number that can be meant: none below 0, or beyond what all computers have ever written."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOO_MANY
    return value if usable else None  # type: ignore[return-value]


def count_of(data: Mapping[str, Any], name: str) -> int:
    return int(number_of(data.get(name)) or 0)


def object_in(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}
