"""Sums of requests, however many rows they come from, and the figures people read from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil
from typing import Any

_SUMS = (
    *("requests", "failed_requests", "input_tokens", "output_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
    *("cost", "priced_requests", "unpriced_requests", "duration", "timed_requests"),
)


class Tally:
    """What a group of requests adds up to. Durations are kept as counts, so that tallies can be merged."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = dict.fromkeys(_SUMS, 0)
        self.durations: Counter[int] = Counter()
        self.first_tokens: Counter[int] = Counter()
        self.first_at: str | None = None
        self.last_at: str | None = None
        #: None where they cannot be told for this group.
        self.messages: int | None = None
        self.tool_calls: int | None = None

    def add(self, sums: Mapping[str, Any]) -> None:
        """Add a row of sums, with ``first_at`` and ``last_at``."""
        for name in _SUMS:
            self.sums[name] += sums[name] or 0
        self._stretch(sums["first_at"], sums["last_at"])

    def merge(self, other: Tally) -> None:
        self.add({**other.sums, "first_at": other.first_at, "last_at": other.last_at})
        self.durations.update(other.durations)
        self.first_tokens.update(other.first_tokens)

    def figures(self) -> dict[str, Any]:
        """Return the fields of ``stats --json``; what is unknown is None, never 0."""
        sums = self.sums
        return {
            "requests": sums["requests"],
            "failed_requests": sums["failed_requests"],
            "messages": self.messages,
            "tool_calls": self.tool_calls,
            "input_tokens": sums["input_tokens"],
            "output_tokens": sums["output_tokens"],
            "total_tokens": sums["input_tokens"] + sums["output_tokens"],
            "cached_tokens": sums["cached_tokens"],
            "cache_write_tokens": sums["cache_write_tokens"],
            "thinking_tokens": sums["thinking_tokens"],
            # Twelve digits: sums of binary fractions end in noise.
            "cost": round(sums["cost"], 12) if sums["priced_requests"] else None,
            "unpriced_requests": sums["unpriced_requests"],
            "duration_ms": sums["duration"],
            "avg_duration_ms": round(sums["duration"] / sums["timed_requests"]) if sums["timed_requests"] else None,
            "p50_duration_ms": percentile(self.durations, 0.5),
            "p95_duration_ms": percentile(self.durations, 0.95),
            "p50_time_to_first_token_ms": percentile(self.first_tokens, 0.5),
            "first_at": self.first_at,
            "last_at": self.last_at,
        }

    def _stretch(self, first_at: str | None, last_at: str | None) -> None:
        self.first_at = min(filter(None, (self.first_at, first_at)), default=None)
        self.last_at = max(filter(None, (self.last_at, last_at)), default=None)


#: The values of the keys -> what the group adds up to.
Groups = dict[tuple[Any, ...], Tally]


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """Return the smallest value that at least this share of all does not exceed (nearest rank); None for no value."""
    rank = ceil(share * sum(counts.values()))
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0 < counts[value]:
            return value
    return None
