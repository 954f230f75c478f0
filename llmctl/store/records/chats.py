"""The chats table: list, find, add and change chats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records.types import ChatRow
from llmctl.store.schema.ddl import quote
from llmctl.store.writes import Insert, Update

_COLUMNS = """
  k.name AS connection,
  a.name AS agent,
  (SELECT t.id FROM {message_threads} t WHERE t.chat_id = c.id ORDER BY t.rowid LIMIT 1) AS thread_id,
  (SELECT count(*) FROM {messages} m WHERE m.chat_id = c.id) AS message_count,
  (SELECT substr(m.content, 1, 200) FROM {messages} m
   WHERE m.chat_id = c.id AND m.role = 'user' ORDER BY m.created_at LIMIT 1) AS preview
"""
_JOINS = """
LEFT JOIN {model_connections} k ON c.type <> 'agent' AND k.id = c.source_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
"""
#: Chats without a turn of llmctl have no `last_turn_at`. Both halves are read from one index, newest first:
#: among equal keys (all NULL) an index is in the order of the rowids.
_NEWEST = """
SELECT * FROM (
  SELECT rowid AS place, coalesce(last_turn_at, created_at) AS used_at FROM {chats} c
  WHERE last_turn_at IS NOT NULL AND %(where)s ORDER BY last_turn_at DESC LIMIT :limit)
UNION ALL
SELECT * FROM (
  SELECT rowid AS place, created_at AS used_at FROM {chats} c
  WHERE last_turn_at IS NULL AND %(where)s ORDER BY rowid DESC LIMIT :limit)
ORDER BY used_at DESC, place DESC LIMIT :limit
"""
_LIST = (
    f"SELECT c.*, {_COLUMNS} FROM (%(newest)s) n CROSS JOIN {{chats}} c ON c.rowid = n.place {_JOINS}"
    " ORDER BY n.used_at DESC, n.place DESC"
)
_ONE = f"SELECT c.*, {_COLUMNS} FROM {{chats}} c {_JOINS} WHERE c.id = ?"

_WITH_MODEL = "SELECT * FROM {chats} WHERE last_turn_at IS NOT NULL AND type <> 'agent'"
_LAST = """
SELECT * FROM {chats} c WHERE last_turn_at IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM {agent_sessions} s JOIN {tool_invocations} i ON i.id = s.id WHERE s.chat_id = c.id
) ORDER BY last_turn_at DESC LIMIT 1
"""

#: JSON's true and false as users type them; SQLite would return 1 and 0. A JSON path cannot express every key.
_METADATA = """
EXISTS (
  SELECT 1 FROM json_each(c.metadata) e WHERE e.key = {key}
  AND CASE WHEN e.type IN ('true', 'false', 'null') THEN e.type ELSE CAST(e.value AS TEXT) END = {value})
"""


class ChatFilter(NamedTuple):
    """Conditions on chats; all that are set must hold. ``where``: pairs of custom field or metadata key, and value."""

    since: str | None = None
    model: str | None = None
    agent_id: str | None = None
    connection_id: str | None = None
    folder: str | None = None
    where: Sequence[tuple[str, str]] = ()


def list_(database: Database, filters: ChatFilter, limit: int | None) -> Iterator[Row]:
    """Yield chats with their counts, the one with the newest turn first."""
    conditions, values = _conditions(database, filters)
    newest = _NEWEST % {"where": " AND ".join(conditions) or "true"}
    return database.rows(_LIST % {"newest": newest}, values | {"limit": -1 if limit is None else limit})


def get(database: Database, ref: str) -> ChatRow:
    """Return the chat a REF refers to."""
    return ChatRow.from_row(refs.get(database, "chats", ref, kind="chat"))


def find_by_id(database: Database, id: str | None) -> ChatRow | None:
    """Return the chat with that id, or None."""
    return ChatRow.find_row(database.one("SELECT * FROM {chats} WHERE id = ?", (id,)))


def find_by_name(database: Database, name: str) -> ChatRow | None:
    """Return the chat with exactly that name, or None."""
    return ChatRow.find_row(database.one("SELECT * FROM {chats} WHERE name = ?", (name,)))


def find_last(database: Database) -> ChatRow | None:
    """Return the chat with the newest turn, with a model or an agent but not a sub-agent, or None."""
    return ChatRow.find_row(database.one(_LAST))


def find_last_with_model(database: Database) -> ChatRow | None:
    """Return the chat with a model that has the newest turn, or None."""
    return ChatRow.find_row(database.one(f"{_WITH_MODEL} ORDER BY last_turn_at DESC LIMIT 1"))


def find_last_from_terminal(database: Database) -> ChatRow | None:
    """Return the chat with a model whose last turn is the newest one from a terminal, or None."""
    return ChatRow.find_row(
        database.one(f"{_WITH_MODEL} AND last_turn_terminal = 1 ORDER BY last_turn_at DESC LIMIT 1")
    )


def find_last_from_folder(database: Database, folder: str | None) -> ChatRow | None:
    """Return the chat with a model whose last turn is the newest one from a folder, without a terminal, or None."""
    condition = "AND last_turn_terminal = 0 AND last_turn_folder IS ?"
    return ChatRow.find_row(database.one(f"{_WITH_MODEL} {condition} ORDER BY last_turn_at DESC LIMIT 1", (folder,)))


def get_columns(database: Database, id: str) -> Row:
    """Return all columns of the chat with that id, custom ones included."""
    row = database.one("SELECT * FROM {chats} WHERE id = ?", (id,))
    if row is None:
        raise NotFoundError(f'no chat "{id}"')
    return row


def get_summary(database: Database, id: str) -> Row:
    """Return the chat with that id, with its counts."""
    row = database.one(_ONE, (id,))
    if row is None:
        raise NotFoundError(f'no chat "{id}"')
    return row


def has_field(database: Database, name: str) -> bool:
    """Return whether any chat has that custom field or metadata key."""
    if name in database.fields.get("chats", {}):
        return True
    sql = "SELECT 1 FROM {chats} c, json_each(c.metadata) e WHERE c.metadata IS NOT NULL AND e.key = ? LIMIT 1"
    return database.value(sql, (name,)) is not None


def add(database: Database, row: Mapping[str, Any], *, system: str | None = None) -> str:
    """Add a chat with its thread and, if there is a system prompt, its first message; return its id."""
    id, thread_id, now = new_id(), new_id(), clock.now()
    times = {"created_at": now, "updated_at": now}
    writes = [
        Insert("chats", {"id": id, "origin": "llmctl", **row, "instructions": system, **times}),
        Insert("message_threads", {"id": thread_id, "chat_id": id, **times}),
    ]
    if system is not None:
        writes.append(Insert("messages", _system_message(id, thread_id, 1, system, now)))
    with database.transaction(durable=True):
        require_free_name(database, row.get("name"))
        database.commit(*writes)
    return id


def update(database: Database, chat: ChatRow, changes: Mapping[str, Any], *, system: str | None = None) -> None:
    """Change a chat; a new system prompt is appended to its thread. The caller holds the thread's lock."""
    now = clock.now()
    with database.transaction(durable=True):
        require_free_name(database, changes.get("name"), chat.id)
        if system is not None and system != chat.instructions:
            _append_system_message(database, chat, system)
            changes = {**changes, "instructions": system}
        database.commit(Update("chats", chat.id, {**changes, "updated_at": now}))


def count_turns(database: Database, id: str) -> int:
    """Return the number of user messages of a chat."""
    sql = "SELECT count(*) FROM {messages} WHERE chat_id = ? AND role = 'user'"
    return int(database.value(sql, (id,)) or 0)


def column_names(database: Database) -> list[str]:
    """Return the columns of chats, custom ones included."""
    return [column["name"] for column in database.query("PRAGMA table_info({chats})")]


def require_free_name(database: Database, name: str | None, own_id: str | None = None) -> None:
    """Raise UsageError if another chat has that name."""
    if name is None:
        return
    if not name.strip():
        raise UsageError("a chat's name cannot be empty")
    other = database.value("SELECT id FROM {chats} WHERE name = ?", (name,))
    if other is not None and other != own_id:
        raise UsageError(f'chat "{name}" already exists', hint=f"show it with: llmctl chats show {other[:8]}")


def _append_system_message(database: Database, chat: ChatRow, system: str) -> None:
    now = clock.now()
    thread_id = database.value("SELECT id FROM {message_threads} WHERE chat_id = ? ORDER BY rowid LIMIT 1", (chat.id,))
    if thread_id is None:
        thread_id = new_id()
        thread = {"id": thread_id, "chat_id": chat.id, "created_at": now, "updated_at": now}
        database.commit(Insert("message_threads", thread))
    last = database.one(
        "SELECT max(seq) AS seq, max(created_at) AS at FROM {messages} WHERE thread_id = ?", (thread_id,)
    )
    assert last
    at = max(now, clock.add_seconds(last["at"], 0.001)) if last["at"] else now
    database.commit(Insert("messages", _system_message(chat.id, thread_id, (last["seq"] or 0) + 1, system, at)))


def _system_message(chat_id: str, thread_id: str, seq: int, text: str, at: str) -> Row:
    return {
        "id": new_id(),
        "thread_id": thread_id,
        "seq": seq,
        "chat_id": chat_id,
        "role": "system",
        "type": "system",
        "status": "completed",
        "content": text,
        "origin": "llmctl",
        "created_at": at,
        "updated_at": at,
    }


def _conditions(database: Database, filters: ChatFilter) -> tuple[list[str], dict[str, Any]]:
    fixed = {
        "coalesce(c.last_turn_at, c.created_at) >= :since": filters.since,
        "c.model = :model": filters.model,
        "c.type = 'agent' AND c.source_id = :agent_id": filters.agent_id,
        "c.type <> 'agent' AND c.source_id = :connection_id": filters.connection_id,
        "c.last_turn_folder = :folder": filters.folder,
    }
    conditions = [condition for condition, value in fixed.items() if value is not None]
    values: dict[str, Any] = {
        name: getattr(filters, name) for name in ("since", "model", "agent_id", "connection_id", "folder")
    }
    for index, (field, value) in enumerate(filters.where):
        condition, result = _where(database, index, field, value)
        conditions.append(condition)
        values |= result
    return conditions, values


def _where(database: Database, index: int, field: str, value: str) -> tuple[str, dict[str, Any]]:
    declared = database.fields.get("chats", {}).get(field)
    if declared is None:
        names = {"key": f":key{index}", "value": f":value{index}"}
        return _METADATA.format(**names), {f"key{index}": field, f"value{index}": value}
    if declared.upper().startswith("BOOL") and value.lower() in ("true", "false"):
        value = "1" if value.lower() == "true" else "0"
    return f"c.{quote(field)} = :value{index}", {f"value{index}": value}
