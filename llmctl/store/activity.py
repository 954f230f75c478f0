"""Messages that people see and calls of tools, counted for ``stats``: the ledger knows nothing of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from llmctl.store.database import Database
from llmctl.store.groups import TIMES, Grouping
from llmctl.store.scope import Scope
from llmctl.store.tally import Groups, Tally

_MESSAGES = "{messages} m"
_MESSAGES_OF_CHATS = "{messages} m JOIN {chats} c ON c.id = m.chat_id"
_CALLS = "{tool_invocations} i"
_CALLS_OF_CHATS = (
    "{tool_invocations} i LEFT JOIN {messages} m ON m.id = i.message_id"
    " LEFT JOIN {message_threads} t ON t.id = m.thread_id LEFT JOIN {chats} c ON c.id = t.chat_id"
)


class _Counted(NamedTuple):
    """What to count, from which table; ``keys`` are expressions, ``time`` and ``chat`` columns."""

    name: Literal["messages", "tool_calls"]
    table: str
    keys: tuple[str, ...]
    time: str
    chat: str
    condition: str


def count(database: Database, scope: Scope, grouping: Grouping, groups: Groups) -> None:
    """Set ``messages`` and ``tool_calls`` of the groups where the keys tell them; add groups that only have these."""
    found = {counted.name: _counts(database, scope, counted) for counted in _countable(scope, grouping)}
    for counts in found.values():
        for key in counts:
            groups.setdefault(key, Tally())
    for name, counts in found.items():
        for key, tally in groups.items():
            setattr(tally, name, counts.get(key, 0))


def _countable(scope: Scope, grouping: Grouping) -> Iterator[_Counted]:
    of_chats = scope.agent is not None or scope.connection is not None or bool(scope.chat_id)
    of_chats = of_chats or bool(set(grouping.keys) - {*TIMES, "tool"})
    if grouping.messages is not None:
        table = _MESSAGES_OF_CHATS if of_chats else _MESSAGES
        yield _Counted("messages", table, grouping.messages, "m.created_at", "m.chat_id", "m.chat_id IS NOT NULL")
    if grouping.calls is not None:
        table = _CALLS_OF_CHATS if of_chats else _CALLS
        yield _Counted("tool_calls", table, grouping.calls, "i.created_at", "t.chat_id", "true")


def _counts(database: Database, scope: Scope, counted: _Counted) -> dict[tuple[Any, ...], int]:
    conditions = [counted.condition, *scope.between(counted.time)]
    if scope.chat_id is not None:
        conditions.append(f"{counted.chat} = :chat_id")
    if scope.agent is not None:
        conditions.append("c.type = 'agent' AND c.source_id = :agent_id")
    if scope.connection is not None:
        conditions.append("c.type <> 'agent' AND c.source_id = :connection_id")
    keys = "".join(f"{text} AS k{index}, " for index, text in enumerate(counted.keys))
    order = ", ".join(f"k{index}" for index in range(len(counted.keys)))
    sql = f"SELECT {keys}count(*) AS count FROM {counted.table} WHERE {' AND '.join(conditions)}"
    rows = database.rows(sql + (f" GROUP BY {order}" if order else ""), scope._asdict())
    return {tuple(row[f"k{index}"] for index in range(len(counted.keys))): row["count"] for row in rows}
