"""The permission_rules table: stored answers to tool permission prompts, per chat, per agent or hub-wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Serializer
from llmctl.store.writes import Insert

_ACTIVE = """
SELECT * FROM {permission_rules} WHERE tool_id = :tool AND (expires_at IS NULL OR expires_at > :now)
AND (chat_id IS NULL OR chat_id = :chat) AND (agent_id IS NULL OR agent_id = :agent) ORDER BY created_at, rowid
"""
_FOR_TOOL = """
SELECT r.*, c.name AS chat, a.name AS agent FROM {permission_rules} r
LEFT JOIN {chats} c ON c.id = r.chat_id LEFT JOIN {agents} a ON a.id = r.agent_id
WHERE r.tool_id = ? ORDER BY r.created_at, r.rowid
"""


def list_active(database: Database, tool_id: str, *, chat_id: str | None, agent_id: str | None) -> list[Row]:
    """Return the unexpired rules that apply to a call, as records."""
    shape = Serializer(database, "permission_rules")
    values = {"tool": tool_id, "chat": chat_id, "agent": agent_id, "now": clock.now()}
    return [shape.to_record(row) for row in database.rows(_ACTIVE, values)]


def list_for_tool(database: Database, tool_id: str) -> list[Row]:
    """Return all rules of a tool as records, expired ones included."""
    shape = Serializer(database, "permission_rules")
    return [shape.to_record(row) for row in database.rows(_FOR_TOOL, (tool_id,))]


def add(
    database: Database,
    tool_id: str,
    effect: str,
    *,
    arguments: Mapping[str, Any],
    chat_id: str | None = None,
    agent_id: str | None = None,
    expires_at: str | None = None,
) -> str:
    """Add a rule; return its id."""
    now = clock.now()
    row = {
        "id": new_id(),
        "tool_id": tool_id,
        "chat_id": chat_id,
        "agent_id": agent_id,
        "arguments_rule": dumps(dict(arguments)),
        "effect": effect,
        "expires_at": expires_at,
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("permission_rules", row), durable=True)
    return str(row["id"])


def delete_for_tool(database: Database, tool_id: str) -> int:
    """Delete all rules of a tool; return their number."""
    with database.transaction(durable=True):
        return database.execute("DELETE FROM {permission_rules} WHERE tool_id = ?", (tool_id,))
