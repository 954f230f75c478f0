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
        """Add a row of sums, with ``first_at``, ``last_at`` and the texts of ``durations`` and ``first_tokens``."""
        self._add(sums, counted(sums["durations"]), counted(sums["first_tokens"]))

    def merge(self, other: Tally) -> None:
        """Add what another tally adds up to."""
        times = {"first_at": other.first_at, "last_at": other.last_at}
        self._add({**other.sums, **times}, other.durations, other.first_tokens)

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

    def _add(self, sums: Mapping[str, Any], durations: Mapping[int, int], first_tokens: Mapping[int, int]) -> None:
        for name in _SUMS:
            self.sums[name] += sums[name] or 0
        self.durations.update(durations)
        self.first_tokens.update(first_tokens)
        self.first_at = min(filter(None, (self.first_at, sums["first_at"])), default=None)
        self.last_at = max(filter(None, (self.last_at, sums["last_at"])), default=None)


#: The values of the keys -> what the group adds up to.
Groups = dict[tuple[Any, ...], Tally]


def counted(text: str | None) -> Counter[int]:
    """Count values that a query put into one text: ``600,1100,600``, or with their number ``"600":2,"1100":1``.

    The same few pieces come again and again; counting them as text is the quick part.
    """
    found: Counter[int] = Counter()
    for piece, times in Counter(text.split(",")).items() if text else ():
        value, _, count = piece.partition(":")
        found[int(value.strip('"'))] += int(count or 1) * times
    return found


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """Return the smallest value that at least this share of all does not exceed (nearest rank); None for no value."""
    rank = ceil(share * sum(counts.values()))
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0 < counts[value]:
            return value
    return None
