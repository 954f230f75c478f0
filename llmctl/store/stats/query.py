"""``stats``: usage and costs of one chat or of everything.

One chat is counted from the rows of the ledger. Everything is counted from the roll-ups, so that it does not slow down
as history grows: whole months, then days and hours at the ends of a range, then rows for partial hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.values import Value
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.schema import ddl
from llmctl.store.schema.ddl import ROLLUP_TABLES
from llmctl.store.stats import totals
from llmctl.store.stats.group_by import LABELS_FROM, TIMES, Grouping, Scope, Unit
from llmctl.store.stats.totals import Groups, UsageTotals

# Cost 0 or duration 0 written by another program means unknown.
_COST = "nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END)"
#: Dollars saved by caching, computed as in the roll-ups (``schema/850_triggers.sql``).
_CACHE_SAVINGS = """(
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
    "cache_savings": f"sum({_CACHE_SAVINGS})",
    "cached_requests": "sum(r.cached_from IS NOT NULL)",
    "saved_cost": "sum(r.saved_cost)",
    "first_at": "min(r.created_at)",
    "last_at": "max(r.created_at)",
    "durations": "group_concat(CASE WHEN r.duration > 0 THEN r.duration END)",
    "first_tokens": "group_concat(CASE WHEN r.time_to_first_token > 0 THEN r.time_to_first_token END)",
}
_FROM_ROLLUP = {name: f"sum(r.{name})" for name in _FROM_ROWS} | {
    "failed_requests": "sum(CASE r.status WHEN 'failed' THEN r.requests ELSE 0 END)",
    "first_at": "min(r.first_at)",
    "last_at": "max(r.last_at)",
    "durations": "group_concat(nullif(r.duration_histogram, '{}'))",
    "first_tokens": "group_concat(nullif(r.first_token_histogram, '{}'))",
}
#: Messages that a fork copied were not asked for in its chat.
_UNKEPT = """
SELECT sum(m.input_tokens) AS input_tokens, sum(m.output_tokens) AS output_tokens,
  sum(m.thinking_tokens) AS thinking_tokens
FROM {messages} m LEFT JOIN {message_threads} t ON t.id = m.thread_id
WHERE m.chat_id = :chat_id AND m.role = 'assistant' AND m.seq > coalesce(t.parent_seq, 0)
  AND NOT EXISTS (SELECT 1 FROM {requests} r WHERE r.message_id = m.id)
"""
#: Totals that only later schemas have.
_MISSING_BEFORE_2 = {"retries": "0", "cache_savings": "NULL"}
_MISSING_BEFORE_5 = {"cached_requests": "0", "saved_cost": "0"}
_REQUESTS = "{requests} r"
_REQUESTS_OF_CHATS = "{requests} r LEFT JOIN {chats} c ON c.id = r.chat_id"
#: The first call of each tool.
_CALLED = """ LEFT JOIN {tool_invocations} i ON i.message_id = r.message_id AND i.rowid = (
  SELECT min(o.rowid) FROM {tool_invocations} o WHERE o.message_id = r.message_id AND o.name = i.name)"""
_LABEL_UNITS: tuple[Unit, ...] = ("month", "day")


def get_total(database: Database, scope: Scope) -> Row:
    """Return the totals of everything in scope."""
    return {"chat_id": scope.chat_id} | _total(database, scope).to_record()


def chat_stats(database: Database, chat_id: str) -> Row:
    """Return the totals of one chat."""
    return get_total(database, Scope(chat_id=chat_id))


def is_known_name(database: Database, column: Literal["agent", "connection"], name: str) -> bool:
    """Return whether the ledger has an agent or connection of that name, existing or deleted."""
    table = ROLLUP_TABLES["month" if totals.has_rollups(database) else "hour"]
    return database.value(f"SELECT 1 FROM {{{table}}} WHERE {column} = ? LIMIT 1", (name,)) is not None


def group_totals(database: Database, scope: Scope, grouping: Grouping) -> tuple[list[Row], Row]:
    """Return the totals of each group, and of all.

    Times ascend; otherwise the group with the most tokens comes first. ``messages`` and ``tool_calls`` are None if
    the keys do not apply to them (a message has no provider).
    """
    groups = sum_groups(database, scope, grouping)
    summary = _total(database, scope)
    totals.add_activity(database, scope, grouping, groups)
    ordered = sorted(groups.items(), key=lambda item: _order(grouping, *item))
    rows = [
        dict(zip(grouping.keys, key, strict=True)) | {"chat_id": scope.chat_id} | t.to_record() for key, t in ordered
    ]
    if "chat" in grouping.keys:
        _name_chats(database, rows)
    return rows, {"chat_id": scope.chat_id} | summary.to_record()


def _total(database: Database, scope: Scope) -> UsageTotals:
    whole = sum_groups(database, scope, Grouping()).get((), UsageTotals())
    if scope.chat_id is not None and scope.tag is None and scope.folder is None:  # messages have neither
        _add_unkept_requests(database, scope, whole)
    totals.add_activity(database, scope, Grouping(), {(): whole})
    return whole


def _add_unkept_requests(database: Database, scope: Scope, whole: UsageTotals) -> None:
    """Add the tokens of a chat's turns whose requests were not kept; their answers have the sums of them."""
    times = "".join(f" AND {condition}" for condition in scope.time_conditions("m.created_at"))
    row = database.one(_UNKEPT + times, scope.to_dict())
    for name, value in (row or {}).items():
        whole.sums[name] += value or 0


def sum_groups(database: Database, scope: Scope, grouping: Grouping) -> Groups:
    """Return the totals of each group, for further merging; only requests are counted."""
    groups: Groups = {}
    label_units = _label_units(database, scope) if grouping.label else ()
    for source in _sum_queries(scope, grouping, version=database.version, label_units=label_units):
        source.add_to(groups, database)
    return groups


def sum_source(database: Database, scope: Scope, grouping: Grouping, unit: Unit | None) -> Groups:
    """Return the totals of each group as the roll-up of this unit has them, or the rows of the ledger."""
    groups: Groups = {}
    source = _rollup_query(scope, unit, grouping) if unit else _ledger_query(scope, grouping)
    source.add_to(groups, database)
    return groups


def _label_units(database: Database, scope: Scope) -> tuple[Unit, ...]:
    """Return the units in which the roll-up of labels has the time range: it is filled when a hub is migrated."""
    if database.version < 5:
        return ()
    since = database.meta(LABELS_FROM)
    if since is None:
        return _LABEL_UNITS
    return ("day",) if scope.since and scope.since >= since else ()


class _SumQuery(Value):
    """A query over one table, with its sums and keys."""

    table: str
    sums: dict[str, str]
    keys: tuple[str, ...]
    where: str
    values: Mapping[str, Any]

    def add_to(self, groups: Groups, database: Database) -> None:
        """Add the table's rows to the groups."""
        width = len(self.keys)
        keys = "".join(f"{text} AS k{index}, " for index, text in enumerate(self.keys))
        order = f" GROUP BY {', '.join(f'k{index}' for index in range(width))}" if width else ""
        sums = ", ".join(f"{text} AS {name}" for name, text in self.sums.items())
        for row in database.rows(f"SELECT {keys}{sums} FROM {self.table} WHERE {self.where}{order}", self.values):
            key = _key(row, width)
            if key in groups:
                groups[key].add(row)
            elif row["requests"]:
                groups[key] = UsageTotals.from_row(row)


def _sum_queries(
    scope: Scope, grouping: Grouping, *, version: int = ddl.VERSION, label_units: Sequence[Unit] = _LABEL_UNITS
) -> Iterator[_SumQuery]:
    """Yield the queries to sum up: roll-ups for whole months, days and hours, rows for the rest.

    A hub of schema 1 has only the hourly roll-up until its first write.
    """
    missing = (_MISSING_BEFORE_2 if version < 2 else {}) | (_MISSING_BEFORE_5 if version < 5 else {})
    for unit, part in scope.split(_usable_units(scope, grouping, version, label_units)):
        source = _ledger_query(part, grouping) if unit is None else _rollup_query(part, unit, grouping)
        rows_lack = _MISSING_BEFORE_5 if version < 5 else {}
        yield source.replace(sums=source.sums | (rows_lack if unit is None else missing))


def _usable_units(scope: Scope, grouping: Grouping, version: int, label_units: Sequence[Unit]) -> list[Unit]:
    """Return the units of the roll-ups that have the keys and the scope, longest first."""
    of_source = bool(scope.agent or scope.connection or scope.tag)
    if scope.chat_id is not None or scope.folder is not None:
        return []
    if grouping.label:
        return [unit for unit in grouping.rolled_up if unit in label_units and not of_source]
    without = {"month", "day"} if version < 2 else {"day"} if of_source else set()
    return [unit for unit in grouping.rolled_up if unit not in without]


def _ledger_query(scope: Scope, grouping: Grouping) -> _SumQuery:
    needs_chats = any(text.startswith("c.") for text in grouping.rows)
    table = (_REQUESTS_OF_CHATS if needs_chats else _REQUESTS) + (_CALLED if "tool" in grouping.keys else "")
    where, values = _where(scope, "r.created_at", ("chat_id", "agent", "connection", "tag"))
    if scope.folder is not None:
        where += " AND (r.folder = :folder OR substr(r.folder, 1, length(:below)) = :below)"
        values |= {"folder": scope.folder, "below": f"{scope.folder.rstrip('/')}/"}
    return _SumQuery(table, _FROM_ROWS, grouping.rows, f"r.status <> 'pending'{where}", values)


def _rollup_query(scope: Scope, unit: Unit, grouping: Grouping) -> _SumQuery:
    keys = grouping.rolled_up[unit]
    failed = {"failed_requests": "sum(r.failed_requests)"}
    if grouping.label:
        where, values = _where(scope, "r.period", ())
        of_label = f"r.unit = '{unit}' AND r.kind = '{grouping.label}'"
        return _SumQuery("{usage_labels} r", _FROM_ROLLUP | failed, keys, of_label + where, values)
    where, values = _where(scope, f"r.{unit}", ("agent", "connection", "tag"))
    sums = _FROM_ROLLUP | (failed if unit == "day" else {})
    return _SumQuery(f"{{{ROLLUP_TABLES[unit]}}} r", sums, keys, f"true{where}", values)


def _where(scope: Scope, time: str, columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    values = {name: getattr(scope, name) for name in (*columns, "since", "until")}
    conditions = [f"r.{name} = :{name}" for name in columns if values[name] is not None]
    conditions += scope.time_conditions(time)
    return "".join(f" AND {condition}" for condition in conditions), values


def _key(row: Row, width: int) -> tuple[Any, ...]:
    return tuple(row[f"k{index}"] for index in range(width))


def _order(grouping: Grouping, key: tuple[Any, ...], tally: UsageTotals) -> tuple[Any, ...]:
    words = tuple(map(_sort_text, grouping.keys, key))
    if grouping.keys[0] in TIMES:
        return words
    return (-tally.sums["input_tokens"] - tally.sums["output_tokens"], -tally.sums["requests"], *words)


def _sort_text(key: str, value: Any) -> str:
    """Return the sort key of a value; an hour that occurs twice when clocks change is two hours."""
    return clock.format(clock.parse(value)) if key == "hour" and value[-6:] != "+00:00" else str(value or "")


def _name_chats(database: Database, rows: list[Row]) -> None:
    """Add the name of the chat to groups by chat."""
    for row in rows:
        row["chat_id"] = row["chat"]
        if row["chat"] is not None:
            row["chat"] = database.value("SELECT name FROM {chats} WHERE id = ?", (row["chat"],)) or row["chat"]


# --- references


def resolve_scope(
    database: Database,
    chat_id: str | None,
    agent: str | None,
    connection: str | None,
    since: str | None,
    until: str | None,
    *,
    tag: str | None = None,
    folder: str | None = None,
) -> Scope:
    """Return the scope of a query; agents and connections by REF. Raises NotFoundError for an unknown one."""
    agent, agent_id = _resolve_name(database, "agents", "agent", agent)
    connection, connection_id = _resolve_name(database, "model_connections", "connection", connection)
    return Scope(chat_id, agent, agent_id, connection, connection_id, tag, folder, since, until)


def _resolve_name(
    database: Database, table: str, kind: Literal["agent", "connection"], ref: str | None
) -> tuple[str | None, str | None]:
    """Return name and id of an agent or connection; a deleted one still has its name in the requests."""
    if ref is None:
        return None, None
    row = refs.find(database, table, ref, kind=kind)
    if row is not None:
        return row["name"], row["id"]
    if is_known_name(database, kind, ref):
        return ref, None
    raise NotFoundError(f'no {kind} "{ref}"', hint=f"see: llmctl {kind} list")
