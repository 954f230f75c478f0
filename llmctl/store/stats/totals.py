"""Sums of requests, however many rows they come from, and the figures people read from them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from json import JSONDecoder
from typing import Any

_SUMS = (
    *("requests", "failed_requests", "input_tokens", "output_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
    *("cost", "priced_requests", "unpriced_requests", "duration", "timed_requests", "retries"),
)
_ACTIVITY = ("messages", "tool_calls", "failed_tool_calls", "tool_duration")

#: Histograms come by the thousand, without a space around them.
_DECODER = JSONDecoder()


class _Numbers(dict[str, int]):
    """What digits mean, found out once: there are few of them, seen again and again."""

    def __missing__(self, digits: str) -> int:
        number = self[digits] = int(digits)
        return number


_NUMBERS = _Numbers()


class Tally:
    """What a group of requests adds up to. Durations are kept as counts, so that tallies can be merged."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = dict.fromkeys(_SUMS, 0)
        #: None where no price tells.
        self.cache_savings: float | None = None
        #: Milliseconds -> how many requests took so long. The keys are text, as the roll-ups have them: thousands of
        #: groups have a hundred each.
        self.durations: dict[str, int] = {}
        self.first_tokens: dict[str, int] = {}
        self.first_at: str | None = None
        self.last_at: str | None = None
        #: Messages, tool calls and what these took: None where they cannot be told for this group.
        self.activity: dict[str, int | None] = dict.fromkeys(_ACTIVITY)

    @classmethod
    def of(cls, sums: Mapping[str, Any]) -> Tally:
        """Return what a row of sums adds up to: see :meth:`add`."""
        tally = cls()
        tally.sums = {name: sums[name] or 0 for name in _SUMS}
        tally.durations, tally.first_tokens = counted(sums["durations"]), counted(sums["first_tokens"])
        tally.cache_savings, tally.first_at, tally.last_at = sums["cache_savings"], sums["first_at"], sums["last_at"]
        return tally

    def add(self, sums: Mapping[str, Any]) -> None:
        """Add a row of sums, with ``first_at``, ``last_at`` and the texts of ``durations`` and ``first_tokens``."""
        self.merge(Tally.of(sums))

    def merge(self, other: Tally) -> None:
        """Add what another tally adds up to."""
        for name in _SUMS:
            self.sums[name] += other.sums[name]
        _pour(other.durations, self.durations)
        _pour(other.first_tokens, self.first_tokens)
        if other.cache_savings is not None:
            self.cache_savings = (self.cache_savings or 0.0) + other.cache_savings
        self.first_at = min(filter(None, (self.first_at, other.first_at)), default=None)
        self.last_at = max(filter(None, (self.last_at, other.last_at)), default=None)

    def figures(self) -> dict[str, Any]:
        """Return the fields of ``stats --json``; what is unknown is None, never 0."""
        sums, activity = self.sums, self.activity
        p50, p95 = percentiles(self.durations, (0.5, 0.95))
        first_p50, first_p95 = percentiles(self.first_tokens, (0.5, 0.95))
        return {
            "requests": sums["requests"],
            "failed_requests": sums["failed_requests"],
            "messages": activity["messages"],
            "tool_calls": activity["tool_calls"],
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
            "p50_duration_ms": p50,
            "p95_duration_ms": p95,
            "p50_time_to_first_token_ms": first_p50,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "p95_time_to_first_token_ms": first_p95,
            "retries": sums["retries"],
            "failed_tool_calls": activity["failed_tool_calls"],
            "tool_duration_ms": activity["tool_duration"],
            "cache_savings": None if self.cache_savings is None else round(self.cache_savings, 12),
        }


#: The values of the keys -> what the group adds up to.
Groups = dict[tuple[Any, ...], Tally]


def counted(text: str | None) -> dict[str, int]:
    """Count values that a query put into one text: ``600,1100,600``, or with their number ``{"600":2},{"1100":1}``."""
    if not text:
        return {}
    if text[0] != "{":
        return Counter(text.split(","))
    first: dict[str, int]
    first, *others = _DECODER.raw_decode(f"[{text}]")[0]
    for histogram in others:
        _pour(histogram, first)
    return first


def percentiles(counts: Mapping[str, int], shares: Iterable[float]) -> list[int | None]:
    """Return for each share the smallest value that so many of all do not exceed (nearest rank); None for no value."""
    values = sorted(counts, key=_NUMBERS.__getitem__)
    ranks = list(accumulate(map(counts.__getitem__, values)))
    if not ranks or not ranks[-1]:
        return [None for _ in shares]
    # A value that nothing has any more is of the rank of the one before: the first of a rank is found.
    return [int(values[bisect_left(ranks, share * ranks[-1])]) for share in shares]


def _pour(counts: Mapping[str, int], into: dict[str, int]) -> None:
    """Add counts to others."""
    if not into:
        into.update(counts)
        return
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count
