"""Read token counts and costs from the usage objects of hosts, ignoring invalid numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: xAI counts in units of 1e-10 dollars.
_USD_PER_TICK = 1e-10
_UPPER_BOUND = 1e15


def parse_cost(data: Mapping[str, Any]) -> float | None:
    """Return the cost in US dollars; None if the host does not report one.

    A plain 0 is a price (free models). A 0 in a sum or in ticks means "not computed": Perplexity sends it in every
    chunk but the last, Azure for models it bills itself.
    """
    cost = data.get("cost")
    if isinstance(cost, dict):
        return parse_number(cost.get("total_cost")) or None
    if (plain := parse_number(cost)) is not None:
        return float(plain)
    return (parse_number(data.get("cost_in_usd_ticks")) or 0) * _USD_PER_TICK or None


def parse_number(value: object) -> float | None:
    """Return a plausible number: not negative and not absurdly large; None otherwise."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _UPPER_BOUND
    return value if usable else None  # type: ignore[return-value]


def parse_count(data: Mapping[str, Any], name: str) -> int:
    return int(parse_number(data.get(name)) or 0)


def get_object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}
