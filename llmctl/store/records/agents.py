"""Agents, the tools they may use, and their sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Delete, Insert, Update

TABLE = "agents"

_TOOLS = """
SELECT t.name, c.permission FROM {agent_tool_connections} c JOIN {tools} t ON t.id = c.tool_id
WHERE c.agent_id = ? ORDER BY c.created_at, c.rowid
"""
_USE = """
SELECT count(*) AS sessions, max(c.last_turn_at) AS last_at FROM {chats} c WHERE c.type = 'agent' AND c.source_id = ?
"""
_SESSIONS = """
SELECT s.*, c.name, c.last_turn_at, c.source_id AS agent_id, a.name AS agent,
  (SELECT count(*) FROM {messages} m WHERE m.chat_id = c.id AND m.role = 'user') AS turns
FROM {agent_sessions} s JOIN {chats} c ON c.id = s.chat_id LEFT JOIN {agents} a ON a.id = c.source_id
"""

#: The session of an agent that was asked has the id of the call.
_ASKED = """
SELECT s.chat_id FROM {message_threads} t JOIN {messages} m ON m.thread_id = t.id
JOIN {tool_invocations} i ON i.message_id = m.id JOIN {agent_sessions} s ON s.id = i.id
WHERE t.chat_id = ?
"""


def listed(database: Database) -> list[Row]:
    """Return all agents as records, the oldest first, with ``tools``, ``connection`` and ``sessions``."""
    rows = database.query("SELECT * FROM {agents} ORDER BY created_at, rowid")
    return [record(database, row) for row in rows]


def get(database: Database, ref: str) -> Row:
    """Return the row of the agent that a REF means."""
    return refs.get(database, TABLE, ref, kind="agent")


def find(database: Database, ref: str) -> Row | None:
    """Return the row of the agent that a REF means, or None."""
    return refs.find(database, TABLE, ref, kind="agent")


def find_named(database: Database, name: str) -> Row | None:
    """Return the row of the agent of exactly that name, or None."""
    return database.one("SELECT * FROM {agents} WHERE name = ?", (name,))


def of_id(database: Database, agent_id: str) -> Row | None:
    return database.one("SELECT * FROM {agents} WHERE id = ?", (agent_id,))


def record(database: Database, row: Row) -> Row:
    """Return an agent as a record."""
    connection = database.value("SELECT name FROM {model_connections} WHERE id = ?", (row["chat_model_id"],))
    use = database.one(_USE, (row["id"],)) or {}
    return Shape(database, TABLE).record(row) | {
        "connection": connection,
        "tools": tools_of(database, row["id"]),
        **use,
    }


def add(database: Database, values: Mapping[str, Any]) -> str:
    """Keep a new agent and return its id; UsageError where its name is taken."""
    now = clock.now()
    row = {"id": new_id(), **values, "created_at": now, "updated_at": now}
    with database.transaction(durable=True):
        _refuse_taken(database, str(values["name"]), str(row["id"]))
        database.commit(Insert(TABLE, row))
    return str(row["id"])


def update(database: Database, agent_id: str, changes: Mapping[str, Any]) -> None:
    """Change an agent; UsageError where its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _refuse_taken(database, str(changes["name"]), agent_id)
        database.commit(Update(TABLE, agent_id, {**changes, "updated_at": clock.now()}))


def remove(database: Database, agent_id: str) -> None:
    """Delete an agent. Its sessions, their chats and the ledger stay."""
    database.commit(Delete(TABLE, {"id": agent_id}), durable=True)


def tools_of(database: Database, agent_id: str) -> dict[str, str]:
    """Return the permission of each tool an agent may use, by its name."""
    return {row["name"]: row["permission"] for row in database.query(_TOOLS, (agent_id,))}


def attach(database: Database, agent_id: str, tool_id: str, permission: str) -> None:
    """Let an agent use a tool, or change how freely it may."""
    now = clock.now()
    with database.transaction(durable=True):
        known = database.value(
            "SELECT id FROM {agent_tool_connections} WHERE agent_id = ? AND tool_id = ?", (agent_id, tool_id)
        )
        if known:
            database.commit(Update("agent_tool_connections", known, {"permission": permission, "updated_at": now}))
            return
        row = {"id": new_id(), "agent_id": agent_id, "tool_id": tool_id, "permission": permission}
        database.commit(Insert("agent_tool_connections", {**row, "created_at": now, "updated_at": now}))


def detach(database: Database, agent_id: str, tool_id: str) -> bool:
    """Take a tool from an agent; return whether it had it."""
    where = {"agent_id": agent_id, "tool_id": tool_id}
    sql = "SELECT count(*) FROM {agent_tool_connections} WHERE agent_id = :agent_id AND tool_id = :tool_id"
    had = bool(database.value(sql, where))
    database.commit(Delete("agent_tool_connections", where), durable=True)
    return had


def sessions(database: Database, agent_id: str | None = None) -> list[Row]:
    """Return sessions as records, the newest first, with their chat's name, agent, turns and last turn."""
    where, values = ("WHERE c.source_id = ?", (agent_id,)) if agent_id else ("", ())
    shape = Shape(database, "agent_sessions")
    rows = database.query(f"{_SESSIONS}{where} ORDER BY coalesce(c.last_turn_at, s.created_at) DESC", values)
    return [shape.record(row) for row in rows]


def session(database: Database, ref: str) -> Row:
    """Return the session of a REF (its id or its chat's, or the beginning of one) as a record."""
    row = refs.find(database, "agent_sessions", ref, kind="session")
    if row is None:
        chat = refs.find(database, "chats", ref, kind="session")
        row = database.one("SELECT * FROM {agent_sessions} WHERE chat_id = ?", (chat["id"],)) if chat else None
    row = row or refs.get(database, "agent_sessions", ref, kind="session")
    return session_record(database, row["id"])


def session_record(database: Database, session_id: str) -> Row:
    row = database.one(f"{_SESSIONS} WHERE s.id = ?", (session_id,))
    assert row is not None
    return Shape(database, "agent_sessions").record(row)


def session_of_chat(database: Database, chat_id: str) -> Row | None:
    """Return the session of a chat as a record, or None."""
    found = database.value("SELECT id FROM {agent_sessions} WHERE chat_id = ?", (chat_id,))
    return session_record(database, found) if found else None


def session_of_call(database: Database, invocation_id: str) -> Row | None:
    """Return the session in which an agent answers the call of another one, or None."""
    known = database.value("SELECT 1 FROM {agent_sessions} WHERE id = ?", (invocation_id,))
    return session_record(database, invocation_id) if known else None


def asked_in(database: Database, chat_id: str) -> list[str]:
    """Return the ids of the chats in which agents answered the calls of a chat, and the calls of those."""
    found = [row["chat_id"] for row in database.query(_ASKED, (chat_id,))]
    return found + [deeper for one in found for deeper in asked_in(database, one)]


def newest_session(database: Database, agent_id: str) -> Row | None:
    """Return the session of an agent that a person talked in last, or None."""
    asked = "SELECT 1 FROM {tool_invocations} WHERE id = ?"
    found = (one for one in sessions(database, agent_id) if not database.value(asked, (one["id"],)))
    return next(found, None)


def begin_session(database: Database, chat: Mapping[str, Any], agent_class: str, metadata: str | None) -> str:
    """Keep a new session and its chat (its columns but id and times) together; return the session's id."""
    now = clock.now()
    times = {"created_at": now, "updated_at": now}
    chat_id, session_id = new_id(), new_id()
    row = {"id": session_id, "agent_class": agent_class, "chat_id": chat_id, "metadata": metadata}
    database.commit(
        Insert("chats", {"id": chat_id, "type": "agent", "origin": "llmctl", **chat, **times}),
        Insert("agent_sessions", {**row, **times}),
        durable=True,
    )
    return session_id


def change_metadata(database: Database, session_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change some of a session's metadata and return all of it; None takes a key away."""
    with database.transaction(durable=True):
        known = session_record(database, session_id)["metadata"] or {}
        found = {name: value for name, value in {**known, **changes}.items() if value is not None}
        metadata = dumps(found) if found else None
        database.commit(Update("agent_sessions", session_id, {"metadata": metadata, "updated_at": clock.now()}))
    return found


def last_version(database: Database, session_id: str) -> str | None:
    """Return the fingerprint of the definition that a session's last request was made with."""
    sql = "SELECT agent_version FROM {requests} WHERE session_id = ? ORDER BY created_at DESC, rowid DESC LIMIT 1"
    found: str | None = database.value(sql, (session_id,))
    return found


def _refuse_taken(database: Database, name: str, agent_id: str) -> None:
    if database.value("SELECT 1 FROM {agents} WHERE name = ? AND id <> ?", (name, agent_id)):
        raise UsageError(
            f'there is an agent "{name}" already',
            hint=f"change it with: llmctl agent edit {name}; or choose another name",
        )
