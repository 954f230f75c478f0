"""``stats``: what was asked, answered, used and paid, of one chat or of everything.

One chat is counted from the ledger's rows. Everything is counted from the roll-ups, so that it does not slow down
as history grows: whole months, then the days and hours at the ends of a range, then rows for parts of an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from llmctl.core import clock
from llmctl.store.database import Database, Row
from llmctl.store.schema.ddl import ROLL_UPS
from llmctl.store.stats import activity
from llmctl.store.stats.group_by import TIMES, Grouping
from llmctl.store.stats.scope import Scope, Unit
from llmctl.store.stats.totals import Groups, Tally

# What another program wrote as cost 0 or duration 0 is unknown.
_COST = "nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END)"
#: Dollars that a cache saved, as the roll-ups count them (``schema/850_triggers.sql``).
_SAVED = """(
  SELECT
    CASE WHEN r.cached_tokens > 0 THEN r.cached_tokens * (p.input_per_million - p.cached_per_million) / 1e6 ELSE 0 END
    - coalesce(r.cache_write_tokens * (p.cache_write_per_million - p.input_per_million) / 1e6, 0)
  FROM {model_prices} p WHERE p.id = r.price_id)"""
_FROM_ROWS = {
    "requests": "count(*)",
    "failed_requests": "sum(r.status = 'failed')",
    "input_tokens": "sum(r.input_tokens)",
    "output_tokens": "sum(r.output_tokens)",
    "cached_tokens": "sum(r.cached_tokens)",
    "cache_write_tokens": "sum(r.cache_write_tokens)",
    "thinking_tokens": "sum(r.thinking_tokens)",
    "cost": f"sum({_COST})",
    "priced_requests": f"sum({_COST} IS NOT NULL)",
    "unpriced_requests": f"sum({_COST} IS NULL AND"
    " (r.status <> 'failed' OR coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0) > 0))",
    "duration": "sum(r.duration)",
    "timed_requests": "sum(coalesce(r.duration, 0) > 0)",
    "retries": "sum((SELECT max(n.attempt) - 1 FROM {network_calls} n WHERE n.request_id = r.id))",
    "cache_savings": f"sum({_SAVED})",
    "first_at": "min(r.created_at)",
    "last_at": "max(r.created_at)",
    "durations": "group_concat(CASE WHEN r.duration > 0 THEN r.duration END)",
    "first_tokens": "group_concat(CASE WHEN r.time_to_first_token > 0 THEN r.time_to_first_token END)",
}
_FROM_ROLL_UP = {name: f"sum(r.{name})" for name in _FROM_ROWS} | {
    "failed_requests": "sum(CASE r.status WHEN 'failed' THEN r.requests ELSE 0 END)",
    "first_at": "min(r.first_at)",
    "last_at": "max(r.last_at)",
    "durations": "group_concat(nullif(r.duration_histogram, '{}'))",
    "first_tokens": "group_concat(nullif(r.first_token_histogram, '{}'))",
}
#: What schema 1 did not sum up.
_UNKNOWN_ONCE = {"retries": "0", "cache_savings": "NULL"}
_REQUESTS = "{requests} r"
_REQUESTS_OF_CHATS = "{requests} r LEFT JOIN {chats} c ON c.id = r.chat_id"
_CALLED = " LEFT JOIN (SELECT DISTINCT message_id, name FROM {tool_invocations}) i ON i.message_id = r.message_id"


def total(database: Database, scope: Scope) -> Row:
    """Return the figures of everything in scope."""
    return {"chat_id": scope.chat_id} | _total(database, scope).figures()


def chat_stats(database: Database, chat_id: str) -> Row:
    """Return the figures of one chat, exactly."""
    return total(database, Scope(chat_id=chat_id))


def is_named(database: Database, column: Literal["agent", "connection"], name: str) -> bool:
    """Tell whether the ledger knows an agent or a connection of that name, there or gone."""
    table = ROLL_UPS["month" if activity.is_rolled_up(database) else "hour"]
    return database.value(f"SELECT 1 FROM {{{table}}} WHERE {column} = ? LIMIT 1", (name,)) is not None


def grouped(database: Database, scope: Scope, grouping: Grouping) -> tuple[list[Row], Row]:
    """Return the figures of each group, and of all.

    Times ascend; otherwise the group with the most tokens comes first. ``messages`` and ``tool_calls`` are None
    where the keys say nothing of them (a message has no provider).
    """
    groups = tallies(database, scope, grouping)
    summary = _total(database, scope)
    activity.count(database, scope, grouping, groups)
    ordered = sorted(groups.items(), key=lambda item: _order(grouping, *item))
    rows = [dict(zip(grouping.keys, key, strict=True)) | {"chat_id": scope.chat_id} | t.figures() for key, t in ordered]
    if "chat" in grouping.keys:
        _name_chats(database, rows)
    return rows, {"chat_id": scope.chat_id} | summary.figures()


def _total(database: Database, scope: Scope) -> Tally:
    whole = tallies(database, scope, Grouping()).get((), Tally())
    activity.count(database, scope, Grouping(), {(): whole})
    return whole


def tallies(database: Database, scope: Scope, grouping: Grouping) -> Groups:
    """Return what each group adds up to, to be merged and read further; nothing but requests is counted."""
    groups: Groups = {}
    for source in _sources(scope, grouping, old=not activity.is_rolled_up(database)):
        source.add_to(groups, database)
    return groups


class _Source(NamedTuple):
    """A table to count from: its own sums and keys."""

    table: str
    sums: dict[str, str]
    keys: tuple[str, ...]
    where: str
    values: Mapping[str, Any]

    def add_to(self, groups: Groups, database: Database) -> None:
        """Add to the groups what the table has."""
        width = len(self.keys)
        keys = "".join(f"{text} AS k{index}, " for index, text in enumerate(self.keys))
        order = f" GROUP BY {', '.join(f'k{index}' for index in range(width))}" if width else ""
        sums = ", ".join(f"{text} AS {name}" for name, text in self.sums.items())
        for row in database.rows(f"SELECT {keys}{sums} FROM {self.table} WHERE {self.where}{order}", self.values):
            key = _key(row, width)
            if key in groups:
                groups[key].add(row)
            elif row["requests"]:
                groups[key] = Tally.of(row)


def _sources(scope: Scope, grouping: Grouping, *, old: bool = False) -> Iterator[_Source]:
    """Yield where to count: the roll-ups for whole months, days and hours, rows for the rest.

    An ``old`` hub, of schema 1, has only that by hour until it is written to.
    """
    without = {"month", "day"} if old else {"day"} if scope.agent or scope.connection else set()
    units = [unit for unit in grouping.rolled_up if unit not in without and scope.chat_id is None]
    for unit, part in scope.parts(units):
        if unit is None:
            yield _rows(part, grouping)
        else:
            source = _roll_up(part, unit, grouping.rolled_up[unit])
            yield source._replace(sums=source.sums | _UNKNOWN_ONCE) if old else source


def _rows(scope: Scope, grouping: Grouping) -> _Source:
    needs_chats = any(text.startswith("c.") for text in grouping.rows)
    table = (_REQUESTS_OF_CHATS if needs_chats else _REQUESTS) + (_CALLED if "tool" in grouping.keys else "")
    where, values = _where(scope, "r.created_at", ("chat_id", "agent", "connection"))
    return _Source(table, _FROM_ROWS, grouping.rows, f"r.status <> 'pending'{where}", values)


def _roll_up(scope: Scope, unit: Unit, keys: tuple[str, ...]) -> _Source:
    where, values = _where(scope, f"r.{unit}", ("agent", "connection"))
    sums = _FROM_ROLL_UP | ({"failed_requests": "sum(r.failed_requests)"} if unit == "day" else {})
    return _Source(f"{{{ROLL_UPS[unit]}}} r", sums, keys, f"true{where}", values)


def _where(scope: Scope, time: str, columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    values = {name: getattr(scope, name) for name in (*columns, "since", "until")}
    conditions = [f"r.{name} = :{name}" for name in columns if values[name] is not None]
    conditions += scope.between(time)
    return "".join(f" AND {condition}" for condition in conditions), values


def _key(row: Row, width: int) -> tuple[Any, ...]:
    return tuple(row[f"k{index}"] for index in range(width))


def _order(grouping: Grouping, key: tuple[Any, ...], tally: Tally) -> tuple[Any, ...]:
    words = tuple(map(_place, grouping.keys, key))
    if grouping.keys[0] in TIMES:
        return words
    return (-tally.sums["input_tokens"] - tally.sums["output_tokens"], -tally.sums["requests"], *words)


def _place(key: str, value: Any) -> str:
    """Return what a value is ordered by: an hour that a clock shows twice is two hours, the earlier one first."""
    return clock.stored(clock.parsed(value)) if key == "hour" and value[-6:] != "+00:00" else str(value or "")


def _name_chats(database: Database, rows: list[Row]) -> None:
    """Give groups of a chat its name beside its id."""
    for row in rows:
        row["chat_id"] = row["chat"]
        if row["chat"] is not None:
            row["chat"] = database.value("SELECT name FROM {chats} WHERE id = ?", (row["chat"],)) or row["chat"]
