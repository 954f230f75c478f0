"""Count messages and tool calls for ``stats``; the ledger does not have them.

Totals come from the daily roll-up, which includes deleted rows. Chats, agents, connections, partial days at the ends
of a range and days of other time zones are counted from the existing rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from llmctl.store.database import Database
from llmctl.store.stats.group_by import TIMES, Grouping
from llmctl.store.stats.scope import Scope
from llmctl.store.stats.totals import Groups, UsageTotals

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


class _CountQuery(NamedTuple):
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
        grouping = grouping._replace(activity=None)
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
        for row in database.rows(sql, part._asdict()):
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
