"""Agents, the tools they may use, and their sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.store import refs
from llmctl.store.database import Database, Delete, Insert, Row, Serializer, Update
from llmctl.store.records.types import AgentRow, ChatRow, SessionRow

TABLE = "agents"

_TOOLS = """
SELECT t.name, c.permission FROM {agent_tool_connections} c JOIN {tools} t ON t.id = c.tool_id
WHERE c.agent_id = ? ORDER BY c.created_at, c.rowid
"""
_USAGE = """
SELECT count(*) AS sessions, max(c.last_turn_at) AS last_at FROM {chats} c WHERE c.type = 'agent' AND c.source_id = ?
"""
_SESSIONS = """
SELECT s.*, c.name, c.last_turn_at, c.source_id AS agent_id, a.name AS agent,
  (SELECT count(*) FROM {messages} m WHERE m.chat_id = c.id AND m.role = 'user') AS turns
FROM {agent_sessions} s JOIN {chats} c ON c.id = s.chat_id LEFT JOIN {agents} a ON a.id = c.source_id
"""

#: The session of a sub-agent has the id of the tool call.
_SUBAGENT_CHATS = """
SELECT s.chat_id FROM {message_threads} t JOIN {messages} m ON m.thread_id = t.id
JOIN {tool_invocations} i ON i.message_id = m.id JOIN {agent_sessions} s ON s.id = i.id
WHERE t.chat_id = ?
"""

#: Sessions of sub-agents have the id of an invocation.
_NEWEST_SESSION = """
SELECT s.* FROM {agent_sessions} s JOIN {chats} c ON c.id = s.chat_id
WHERE c.source_id = ? AND s.id NOT IN (SELECT id FROM {tool_invocations})
ORDER BY coalesce(c.last_turn_at, s.created_at) DESC LIMIT 1
"""
_CHAT_SESSION = "SELECT * FROM {agent_sessions} WHERE chat_id = ?"


def list_(database: Database) -> list[Row]:
    """Return all agents as records, oldest first, with ``tools``, ``connection`` and ``sessions``."""
    rows = database.query("SELECT * FROM {agents} ORDER BY created_at, rowid")
    return [_to_record(database, row) for row in rows]


def get(database: Database, ref: str) -> AgentRow:
    """Return the row of the agent a REF refers to."""
    return AgentRow.from_row(refs.get(database, TABLE, ref, kind="agent"))


def find(database: Database, ref: str) -> AgentRow | None:
    """Return the row of the agent a REF refers to, or None."""
    return AgentRow.find_row(refs.find(database, TABLE, ref, kind="agent"))


def find_by_name(database: Database, name: str) -> AgentRow | None:
    """Return the row of the agent with exactly that name, or None."""
    return AgentRow.find_row(database.one("SELECT * FROM {agents} WHERE name = ?", (name,)))


def by_id(database: Database, agent_id: str) -> AgentRow | None:
    return AgentRow.find_row(database.one("SELECT * FROM {agents} WHERE id = ?", (agent_id,)))


def get_record(database: Database, ref: str) -> Row:
    """Return the agent a REF refers to as a record, as in :func:`list_`."""
    return _to_record(database, refs.get(database, TABLE, ref, kind="agent"))


def _to_record(database: Database, row: Row) -> Row:
    connection = database.value("SELECT name FROM {model_connections} WHERE id = ?", (row["chat_model_id"],))
    usage = database.one(_USAGE, (row["id"],)) or {}
    return Serializer(database, TABLE).to_record(row) | {
        "connection": connection,
        "tools": tool_permissions(database, row["id"]),
        **usage,
    }


def add(database: Database, values: Mapping[str, Any]) -> str:
    """Add an agent and return its id; raise UsageError if its name is taken."""
    now = clock.now()
    row = {"id": new_id(), **values, "created_at": now, "updated_at": now}
    with database.transaction(durable=True):
        _require_free_name(database, str(values["name"]), str(row["id"]))
        database.commit(Insert(TABLE, row))
    return str(row["id"])


def update(database: Database, agent_id: str, changes: Mapping[str, Any]) -> None:
    """Change an agent; raise UsageError if its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _require_free_name(database, str(changes["name"]), agent_id)
        database.commit(Update(TABLE, agent_id, {**changes, "updated_at": clock.now()}))


def delete(database: Database, agent_id: str) -> None:
    """Delete an agent. Its sessions, their chats and the ledger stay."""
    database.commit(Delete(TABLE, {"id": agent_id}), durable=True)


def tool_permissions(database: Database, agent_id: str) -> dict[str, str]:
    """Return tool name -> permission of the tools an agent may use."""
    return {row["name"]: row["permission"] for row in database.query(_TOOLS, (agent_id,))}


def attach_tool(database: Database, agent_id: str, tool_id: str, permission: str) -> None:
    """Allow an agent to use a tool, or change its permission."""
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


def detach_tool(database: Database, agent_id: str, tool_id: str) -> bool:
    """Remove a tool from an agent; return whether it had it."""
    where = {"agent_id": agent_id, "tool_id": tool_id}
    sql = "SELECT count(*) FROM {agent_tool_connections} WHERE agent_id = :agent_id AND tool_id = :tool_id"
    had = bool(database.value(sql, where))
    database.commit(Delete("agent_tool_connections", where), durable=True)
    return had


def list_sessions(database: Database, agent_id: str | None = None) -> list[Row]:
    """Return sessions as records, newest first, with the chat's name, agent, turns and last turn."""
    where, values = ("WHERE c.source_id = ?", (agent_id,)) if agent_id else ("", ())
    shape = Serializer(database, "agent_sessions")
    rows = database.query(f"{_SESSIONS}{where} ORDER BY coalesce(c.last_turn_at, s.created_at) DESC", values)
    return [shape.to_record(row) for row in rows]


def get_session(database: Database, ref: str) -> SessionRow:
    """Return a session; REF is its id, its chat's id, or a prefix of one."""
    row = refs.find(database, "agent_sessions", ref, kind="session")
    if row is None:
        chat = refs.find(database, "chats", ref, kind="session")
        row = database.one(_CHAT_SESSION, (chat["id"],)) if chat else None
    return SessionRow.from_row(row or refs.get(database, "agent_sessions", ref, kind="session"))


def get_session_record(database: Database, session_id: str) -> Row:
    """Return the session with that id as a record, as in :func:`list_sessions`."""
    row = database.one(f"{_SESSIONS} WHERE s.id = ?", (session_id,))
    if row is None:
        raise NotFoundError(f'no session "{session_id}"')
    return Serializer(database, "agent_sessions").to_record(row)


def find_session(database: Database, session_id: str) -> SessionRow | None:
    """Return the session with that id, or None. That of a sub-agent has the id of the tool call it answers."""
    return SessionRow.find_row(database.one("SELECT * FROM {agent_sessions} WHERE id = ?", (session_id,)))


def find_chat_session(database: Database, chat_id: str) -> SessionRow | None:
    """Return the session of a chat, or None."""
    return SessionRow.find_row(database.one(_CHAT_SESSION, (chat_id,)))


def subagent_chats(database: Database, chat_id: str) -> list[str]:
    """Return the ids of the chats of a chat's sub-agents, recursively."""
    rows = [row["chat_id"] for row in database.query(_SUBAGENT_CHATS, (chat_id,))]
    return rows + [deeper for one in rows for deeper in subagent_chats(database, one)]


def find_newest_session(database: Database, agent_id: str) -> SessionRow | None:
    """Return the session of an agent that a user used last, or None; sub-agent sessions are left out."""
    return SessionRow.find_row(database.one(_NEWEST_SESSION, (agent_id,)))


def add_session(database: Database, chat: Mapping[str, Any], agent_class: str, metadata: str | None) -> str:
    """Add a session and its chat, given without id and times, in one transaction; return the session's id."""
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


def assign_session(database: Database, chat: ChatRow, agent: AgentRow) -> None:
    """Give a chat's session to an agent; a chat without one gets it, with the chat's metadata."""
    now = clock.now()
    known = find_chat_session(database, chat.id)
    if known is not None:
        database.commit(Update("agent_sessions", known.id, {"agent_class": agent.name, "updated_at": now}))
        return
    row = {"id": new_id(), "agent_class": agent.name, "chat_id": chat.id, "metadata": chat.metadata}
    database.commit(Insert("agent_sessions", {**row, "created_at": now, "updated_at": now}))


def update_session_metadata(database: Database, session_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into a session's metadata and return all of it; None removes a key."""
    with database.transaction(durable=True):
        known = loads(get_session(database, session_id).metadata, {})
        result = {name: value for name, value in {**known, **changes}.items() if value is not None}
        metadata = dumps(result) if result else None
        database.commit(Update("agent_sessions", session_id, {"metadata": metadata, "updated_at": clock.now()}))
    return result


def last_agent_version(database: Database, session_id: str) -> str | None:
    """Return the fingerprint of the definition used by a session's last request."""
    sql = "SELECT agent_version FROM {requests} WHERE session_id = ? ORDER BY created_at DESC, rowid DESC LIMIT 1"
    value: str | None = database.value(sql, (session_id,))
    return value


def _require_free_name(database: Database, name: str, agent_id: str) -> None:
    if database.value("SELECT 1 FROM {agents} WHERE name = ? AND id <> ?", (name, agent_id)):
        raise UsageError(
            f'agent "{name}" already exists',
            hint=f"change it: llmctl agent edit {name}; or choose another name",
        )
