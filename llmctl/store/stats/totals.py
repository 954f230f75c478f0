"""Totals of requests, merged from any number of rows, with counts of messages and tool calls.

The ledger does not have the counts: they come from the rows, or from a roll-up of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from json import JSONDecoder
from typing import Any

from llmctl.core.values import Value
from llmctl.store.database import Database
from llmctl.store.stats.group_by import TIMES, Grouping, Scope

_LEDGER_SUMS = (
    *("requests", "failed_requests", "input_tokens", "output_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
    *("cost", "priced_requests", "unpriced_requests", "duration", "timed_requests", "retries"),
    *("cached_requests", "saved_cost"),
)
_ACTIVITY_COUNTS = ("messages", "tool_calls", "failed_tool_calls", "tool_duration")

#: Parses the concatenated histograms of a group, which can be thousands.
_DECODER = JSONDecoder()


class _DigitValues(dict[str, int]):
    """Caches the numbers of digit strings: few values recur very often."""

    def __missing__(self, digits: str) -> int:
        number = self[digits] = int(digits)
        return number


_NUMBERS = _DigitValues()


class UsageTotals:
    """Totals of a group of requests. Durations are kept as counts, so that totals can be merged."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = dict.fromkeys(_LEDGER_SUMS, 0)
        #: None if no price is known.
        self.cache_savings: float | None = None
        #: Milliseconds -> number of requests. The keys are text, as in the roll-ups: thousands of
        #: groups have a hundred keys each.
        self.durations: dict[str, int] = {}
        self.first_tokens: dict[str, int] = {}
        self.first_at: str | None = None
        self.last_at: str | None = None
        #: Messages, tool calls and their duration; None if they do not apply to this group.
        self.activity: dict[str, int | None] = dict.fromkeys(_ACTIVITY_COUNTS)

    @classmethod
    def from_row(cls, sums: Mapping[str, Any]) -> UsageTotals:
        """Return the totals of a row of sums: see :meth:`add`."""
        tally = cls()
        tally.sums = {name: sums[name] or 0 for name in _LEDGER_SUMS}
        tally.durations, tally.first_tokens = parse_counts(sums["durations"]), parse_counts(sums["first_tokens"])
        tally.cache_savings, tally.first_at, tally.last_at = sums["cache_savings"], sums["first_at"], sums["last_at"]
        return tally

    def add(self, sums: Mapping[str, Any]) -> None:
        """Add a row of sums, with ``first_at``, ``last_at`` and the texts of ``durations`` and ``first_tokens``."""
        self.merge(UsageTotals.from_row(sums))

    def merge(self, other: UsageTotals) -> None:
        """Add other totals."""
        for name in _LEDGER_SUMS:
            self.sums[name] += other.sums[name]
        _add_counts(other.durations, self.durations)
        _add_counts(other.first_tokens, self.first_tokens)
        if other.cache_savings is not None:
            self.cache_savings = (self.cache_savings or 0.0) + other.cache_savings
        self.first_at = min(filter(None, (self.first_at, other.first_at)), default=None)
        self.last_at = max(filter(None, (self.last_at, other.last_at)), default=None)

    def to_record(self) -> dict[str, Any]:
        """Return the fields of ``stats --json``; unknown values are None, never 0."""
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
            # Twelve digits: sums of binary fractions have rounding noise.
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
            "cached_requests": sums["cached_requests"],
            "saved_cost": round(sums["saved_cost"], 12) if sums["cached_requests"] else None,
        }


#: Values of the group keys -> totals of the group.
Groups = dict[tuple[Any, ...], UsageTotals]


def parse_counts(text: str | None) -> dict[str, int]:
    """Parse concatenated values, ``600,1100,600``, or histograms, ``{"600":2},{"1100":1}``, to counts by value."""
    if not text:
        return {}
    if text[0] != "{":
        return Counter(text.split(","))
    first: dict[str, int]
    first, *others = _DECODER.raw_decode(f"[{text}]")[0]
    for histogram in others:
        _add_counts(histogram, first)
    return first


def percentiles(counts: Mapping[str, int], shares: Iterable[float]) -> list[int | None]:
    """Return the nearest-rank percentile for each share (0 to 1); None if there are no values."""
    values = sorted(counts, key=_NUMBERS.__getitem__)
    ranks = list(accumulate(map(counts.__getitem__, values)))
    if not ranks or not ranks[-1]:
        return [None for _ in shares]
    # A value with count 0 has the rank of the value before it; bisect_left finds the first of a rank.
    return [int(values[bisect_left(ranks, share * ranks[-1])]) for share in shares]


def _add_counts(counts: Mapping[str, int], into: dict[str, int]) -> None:
    """Add counts to other counts."""
    if not into:
        into.update(counts)
        return
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


# --- messages and tool calls


_MESSAGES = "{messages} m"
_MESSAGES_OF_CHATS = "{messages} m JOIN {chats} c ON c.id = m.chat_id"
_CALLS = "{tool_invocations} i"
_CALLS_OF_CHATS = (
    "{tool_invocations} i LEFT JOIN {messages} m ON m.id = i.message_id"
    " LEFT JOIN {message_threads} t ON t.id = m.thread_id LEFT JOIN {chats} c ON c.id = t.chat_id"
)
#: Starts from the chats, whose calls are few among all.
_CALLS_FROM_CHATS = (
    "{chats} c JOIN {message_threads} t ON t.chat_id = c.id"
    " JOIN {messages} m ON m.thread_id = t.id JOIN {tool_invocations} i ON i.message_id = m.id"
)
_MESSAGE_SUMS = {"messages": "count(*)"}
_CALL_SUMS = {
    "tool_calls": "count(*)",
    "failed_tool_calls": "coalesce(sum(i.status = 'failed'), 0)",
    "tool_duration": "coalesce(sum(i.duration), 0)",
}


#: The connection of an agent's chats.
_AGENT_CONNECTION = "SELECT a.chat_model_id FROM {agents} a WHERE a.id = c.source_id"


class _CountQuery(Value):
    """A count over one table; ``keys`` are expressions, ``time`` and ``chat`` columns.

    ``rolled_up`` are the keys' expressions over the roll-up, None if it does not have the keys.
    """

    sums: dict[str, str]
    table: str
    keys: tuple[str, ...]
    time: str
    chat: str
    condition: str
    rolled_up: tuple[str, ...] | None


def add_activity(database: Database, scope: Scope, grouping: Grouping, groups: Groups) -> None:
    """Set the activity of the groups, if the keys apply to it; add groups that have only activity."""
    if not has_rollups(database):
        grouping = grouping.replace(activity=None)
    for counted in _count_queries(scope, grouping):
        result = _run_count(database, scope, counted)
        for key in result:
            groups.setdefault(key, UsageTotals())
        for key, tally in groups.items():
            tally.activity |= dict.fromkeys(counted.sums, 0) | result.get(key, {})


def has_rollups(database: Database) -> bool:
    """Return whether the hub has the roll-ups of schema 2; an older hub gets them at its first write."""
    return bool(database.value("PRAGMA user_version") > 1)


def _count_queries(scope: Scope, grouping: Grouping) -> Iterator[_CountQuery]:
    if scope.tag is not None or scope.folder is not None:
        return
    of_source = scope.agent is not None or scope.connection is not None or bool(scope.chat_id)
    of_chats = of_source or bool(set(grouping.keys) - {*TIMES, "tool"})
    daily = None if of_chats else grouping.activity
    if grouping.messages is not None:
        table = _MESSAGES_OF_CHATS if of_chats else _MESSAGES
        where = "m.chat_id IS NOT NULL"
        yield _CountQuery(_MESSAGE_SUMS, table, grouping.messages, "m.created_at", "m.chat_id", where, daily)
    if grouping.calls is not None:
        table = _CALLS_FROM_CHATS if of_source else _CALLS_OF_CHATS if of_chats else _CALLS
        yield _CountQuery(_CALL_SUMS, table, grouping.calls, "i.created_at", "t.chat_id", "true", daily)


def _run_count(database: Database, scope: Scope, counted: _CountQuery) -> dict[tuple[Any, ...], dict[str, int]]:
    result: dict[tuple[Any, ...], dict[str, int]] = {}
    for unit, part in scope.split(["day"] if counted.rolled_up is not None else []):
        sql = _from_rows(part, counted) if unit is None else _from_rollup(part, counted)
        for row in database.rows(sql, part.to_dict()):
            key = tuple(row[f"k{index}"] for index in range(len(counted.keys)))
            sums = result.setdefault(key, dict.fromkeys(counted.sums, 0))
            for name in sums:
                sums[name] += row[name]
    return result


def _from_rollup(scope: Scope, counted: _CountQuery) -> str:
    sums = {name: f"coalesce(sum(a.{name}), 0)" for name in counted.sums}
    first = next(iter(counted.sums))
    conditions = [f"a.{first} <> 0", *scope.time_conditions("a.day")]
    return _select("{activity_daily} a", sums, counted.rolled_up or (), conditions)


def _from_rows(scope: Scope, counted: _CountQuery) -> str:
    conditions = [counted.condition, *scope.time_conditions(counted.time)]
    if scope.chat_id is not None:
        conditions.append(f"{counted.chat} = :chat_id")
    if scope.agent is not None:
        conditions.append("c.type = 'agent' AND c.source_id = :agent_id")
    if scope.connection is not None:
        conditions.append(f"CASE c.type WHEN 'agent' THEN ({_AGENT_CONNECTION}) ELSE c.source_id END = :connection_id")
    return _select(counted.table, counted.sums, counted.keys, conditions)


def _select(table: str, sums: dict[str, str], keys: tuple[str, ...], conditions: list[str]) -> str:
    chosen = [f"{text} AS k{index}" for index, text in enumerate(keys)]
    chosen += [f"{text} AS {name}" for name, text in sums.items()]
    order = f" GROUP BY {', '.join(f'k{index}' for index in range(len(keys)))}" if keys else ""
    return f"SELECT {', '.join(chosen)} FROM {table} WHERE {' AND '.join(conditions)}{order}"
