"""Remembered answers to "may this tool run?": of a chat, of an agent, or of the whole hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Insert

_HOLDING = """
SELECT * FROM {permission_rules} WHERE tool_id = :tool AND (expires_at IS NULL OR expires_at > :now)
AND (chat_id IS NULL OR chat_id = :chat) AND (agent_id IS NULL OR agent_id = :agent) ORDER BY created_at, rowid
"""
_OF_TOOL = """
SELECT r.*, c.name AS chat, a.name AS agent FROM {permission_rules} r
LEFT JOIN {chats} c ON c.id = r.chat_id LEFT JOIN {agents} a ON a.id = r.agent_id
WHERE r.tool_id = ? ORDER BY r.created_at, r.rowid
"""


def holding(database: Database, tool_id: str, *, chat_id: str | None, agent_id: str | None) -> list[Row]:
    """Return the rules that hold for a call now, as records."""
    shape = Shape(database, "permission_rules")
    values = {"tool": tool_id, "chat": chat_id, "agent": agent_id, "now": clock.now()}
    return [shape.record(row) for row in database.rows(_HOLDING, values)]


def of_tool(database: Database, tool_id: str) -> list[Row]:
    """Return all rules of a tool as records, the expired ones too."""
    shape = Shape(database, "permission_rules")
    return [shape.record(row) for row in database.rows(_OF_TOOL, (tool_id,))]


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
    """Remember an answer; return the rule's id."""
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


def forget(database: Database, tool_id: str) -> int:
    """Delete all rules of a tool; return how many there were."""
    with database.transaction(durable=True):
        return database.execute("DELETE FROM {permission_rules} WHERE tool_id = ?", (tool_id,))
