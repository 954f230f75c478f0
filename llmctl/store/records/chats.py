"""Chats: what people talk to. Listed, found, made and changed here; what was said in them is in messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.store.database import Database, Row
from llmctl.store.schema.ddl import quoted
from llmctl.store.writes import Insert, Update

_COLUMNS = """
  k.name AS connection,
  a.name AS agent,
  (SELECT t.id FROM {message_threads} t WHERE t.chat_id = c.id ORDER BY t.rowid LIMIT 1) AS thread_id,
  (SELECT count(*) FROM {messages} m WHERE m.chat_id = c.id) AS message_count,
  (SELECT substr(m.content, 1, 200) FROM {messages} m
   WHERE m.chat_id = c.id AND m.role = 'user' ORDER BY m.created_at LIMIT 1) AS preview
"""
_PARTIES = """
LEFT JOIN {model_connections} k ON c.type <> 'agent' AND k.id = c.source_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
"""
#: Chats that never had a turn of ours have no `last_turn_at`. Both halves come out of one index, newest first:
#: within equal keys (all NULL) an index is in the order of the rowids.
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
    f"SELECT c.*, {_COLUMNS} FROM (%(newest)s) n CROSS JOIN {{chats}} c ON c.rowid = n.place {_PARTIES}"
    " ORDER BY n.used_at DESC, n.place DESC"
)
_ONE = f"SELECT c.*, {_COLUMNS} FROM {{chats}} c {_PARTIES} WHERE c.id = ?"

#: JSON's true and false as people type them; SQLite would make 1 and 0 of them. A JSON path cannot name every key.
_METADATA = """
EXISTS (
  SELECT 1 FROM json_each(c.metadata) e WHERE e.key = {key}
  AND CASE WHEN e.type IN ('true', 'false', 'null') THEN e.type ELSE CAST(e.value AS TEXT) END = {value})
"""


class Filter(NamedTuple):
    """Which chats: all that is set must hold. ``where`` are pairs of a custom field or metadata key and its value."""

    since: str | None = None
    model: str | None = None
    agent_id: str | None = None
    connection_id: str | None = None
    folder: str | None = None
    where: Sequence[tuple[str, str]] = ()


def listed(database: Database, wanted: Filter, limit: int | None) -> Iterator[Row]:
    """Yield chats with their numbers, the one with the newest turn first."""
    conditions, values = _conditions(database, wanted)
    newest = _NEWEST % {"where": " AND ".join(conditions) or "true"}
    return database.rows(_LIST % {"newest": newest}, values | {"limit": -1 if limit is None else limit})


def one(database: Database, id: str) -> Row:
    """Return the chat of that id, with its numbers."""
    row = database.one(_ONE, (id,))
    if row is None:
        raise NotFoundError(f'no chat "{id}"')
    return row


def knows_field(database: Database, name: str) -> bool:
    """Tell whether any chat has that custom field or metadata key."""
    if name in database.fields.get("chats", {}):
        return True
    sql = "SELECT 1 FROM {chats} c, json_each(c.metadata) e WHERE c.metadata IS NOT NULL AND e.key = ? LIMIT 1"
    return database.value(sql, (name,)) is not None


def create(database: Database, row: Mapping[str, Any], *, system: str | None = None) -> str:
    """Make a chat with its thread and, where there is a system prompt, its first message; return its id."""
    id, thread_id, now = new_id(), new_id(), clock.now()
    times = {"created_at": now, "updated_at": now}
    writes = [
        Insert("chats", {"id": id, "origin": "llmctl", **row, "instructions": system, **times}),
        Insert("message_threads", {"id": thread_id, "chat_id": id, **times}),
    ]
    if system is not None:
        writes.append(Insert("messages", _system_row(id, thread_id, 1, system, now)))
    with database.transaction(durable=True):
        check_name(database, row.get("name"))
        database.commit(*writes)
    return id


def edit(database: Database, chat: Row, changes: Mapping[str, Any], *, system: str | None = None) -> None:
    """Change a chat; a new system prompt is a new row of its thread. The caller has made sure that it is free."""
    now = clock.now()
    with database.transaction(durable=True):
        check_name(database, changes.get("name"), chat["id"])
        if system is not None and system != chat["instructions"]:
            _add_system(database, chat, system)
            changes = {**changes, "instructions": system}
        database.commit(Update("chats", chat["id"], {**changes, "updated_at": now}))


def columns(database: Database) -> list[str]:
    """Return the columns of chats, the user's own too."""
    return [column["name"] for column in database.query("PRAGMA table_info({chats})")]


def check_name(database: Database, name: str | None, own_id: str | None = None) -> None:
    """Raise UsageError where another chat has that name."""
    if name is None:
        return
    if not name.strip():
        raise UsageError("a chat's name cannot be empty")
    other = database.value("SELECT id FROM {chats} WHERE name = ?", (name,))
    if other is not None and other != own_id:
        raise UsageError(f'there is a chat "{name}" already', hint=f"it is {other[:8]}; names are unique")


def _add_system(database: Database, chat: Row, system: str) -> None:
    now = clock.now()
    thread_id = database.value(
        "SELECT id FROM {message_threads} WHERE chat_id = ? ORDER BY rowid LIMIT 1", (chat["id"],)
    )
    if thread_id is None:
        thread_id = new_id()
        thread = {"id": thread_id, "chat_id": chat["id"], "created_at": now, "updated_at": now}
        database.commit(Insert("message_threads", thread))
    last = database.one(
        "SELECT max(seq) AS seq, max(created_at) AS at FROM {messages} WHERE thread_id = ?", (thread_id,)
    )
    assert last
    at = max(now, clock.later(last["at"], 0.001)) if last["at"] else now
    database.commit(Insert("messages", _system_row(chat["id"], thread_id, (last["seq"] or 0) + 1, system, at)))


def _system_row(chat_id: str, thread_id: str, seq: int, text: str, at: str) -> Row:
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


def _conditions(database: Database, wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    fixed = {
        "coalesce(c.last_turn_at, c.created_at) >= :since": wanted.since,
        "c.model = :model": wanted.model,
        "c.type = 'agent' AND c.source_id = :agent_id": wanted.agent_id,
        "c.type <> 'agent' AND c.source_id = :connection_id": wanted.connection_id,
        "c.last_turn_folder = :folder": wanted.folder,
    }
    conditions = [condition for condition, value in fixed.items() if value is not None]
    values: dict[str, Any] = {
        name: getattr(wanted, name) for name in ("since", "model", "agent_id", "connection_id", "folder")
    }
    for index, (field, value) in enumerate(wanted.where):
        condition, found = _where(database, index, field, value)
        conditions.append(condition)
        values |= found
    return conditions, values


def _where(database: Database, index: int, field: str, value: str) -> tuple[str, dict[str, Any]]:
    declared = database.fields.get("chats", {}).get(field)
    if declared is None:
        names = {"key": f":key{index}", "value": f":value{index}"}
        return _METADATA.format(**names), {f"key{index}": field, f"value{index}": value}
    if declared.upper().startswith("BOOL") and value.lower() in ("true", "false"):
        value = "1" if value.lower() == "true" else "0"
    return f"c.{quoted(field)} = :value{index}", {f"value{index}": value}
