"""The tables tools and permission_rules: tools, and stored answers to permission prompts per chat, agent or hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.core.tools import Tool
from llmctl.store import refs
from llmctl.store.database import Database, Delete, Insert, Row, Serializer, Update
from llmctl.store.records.types import ToolRow

TABLE = "tools"


def list_(database: Database) -> list[Row]:
    """Return all tools as records, oldest first."""
    shape = Serializer(database, TABLE)
    return [shape.to_record(row) for row in database.rows("SELECT * FROM {tools} ORDER BY created_at, rowid")]


def list_tools(database: Database) -> list[Tool]:
    """Return all tools, oldest first."""
    return [to_tool(ToolRow.from_row(row)) for row in database.rows("SELECT * FROM {tools} ORDER BY created_at, rowid")]


def get(database: Database, ref: str) -> ToolRow:
    """Return the tool a REF refers to."""
    return ToolRow.from_row(refs.get(database, TABLE, ref, kind="tool"))


def get_record(database: Database, ref: str) -> Row:
    """Return the tool a REF refers to as a record."""
    return Serializer(database, TABLE).to_record(refs.get(database, TABLE, ref, kind="tool"))


def find(database: Database, ref: str) -> ToolRow | None:
    """Return the tool a REF refers to, or None."""
    return ToolRow.find_row(refs.find(database, TABLE, ref, kind="tool"))


def find_by_name(database: Database, name: str) -> ToolRow | None:
    """Return the tool with exactly that name, or None."""
    return ToolRow.find_row(database.one("SELECT * FROM {tools} WHERE name = ?", (name,)))


def by_ids(database: Database, ids: list[str]) -> list[ToolRow]:
    """Return the tools with these ids, in that order; deleted ones are left out."""
    rows = (database.one("SELECT * FROM {tools} WHERE id = ?", (id,)) for id in ids)
    return [ToolRow.from_row(row) for row in rows if row is not None]


def to_tool(row: ToolRow) -> Tool:
    """Return the tool of a row of ``tools``."""
    return Tool(
        name=row.name,
        type=row.type,
        description=row.description or "",
        schema=_parse_object(row.schema),
        data=_parse_object(row.data),
        id=row.id,
    )


def add(database: Database, *values: Mapping[str, Any]) -> list[ToolRow]:
    """Add tools, all or none; raise UsageError if a name is taken."""
    now = clock.now()
    rows = [{"id": new_id(), **one, "created_at": now, "updated_at": now} for one in values]
    with database.transaction(durable=True):
        for row in rows:
            _require_free_name(database, str(row["name"]), str(row["id"]))
            database.commit(Insert(TABLE, row))
    return [get(database, str(row["id"])) for row in rows]


def get_or_add(database: Database, values: Mapping[str, Any]) -> ToolRow:
    """Return the tool with that name; add it if it is missing."""
    with database.transaction():
        return find_by_name(database, values["name"]) or add(database, values)[0]


def update(database: Database, id: str, changes: Mapping[str, Any]) -> ToolRow:
    """Change a tool; raise UsageError if its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _require_free_name(database, str(changes["name"]), id)
        database.commit(Update(TABLE, id, {**changes, "updated_at": clock.now()}))
    return get(database, id)


def delete(database: Database, id: str) -> None:
    """Delete a tool. Its invocations stay."""
    database.commit(Delete(TABLE, {"id": id}), durable=True)


def _parse_object(text: str) -> Mapping[str, Any]:
    result = loads(text, {})
    return result if isinstance(result, dict) else {}


def _require_free_name(database: Database, name: str, id: str) -> None:
    if database.value("SELECT 1 FROM {tools} WHERE name = ? AND id <> ?", (name, id)):
        raise UsageError(
            f'tool "{name}" already exists',
            hint=f"change it: llmctl tool edit {name}; or choose another name",
        )


# --- permission rules


_ACTIVE_RULES = """
SELECT * FROM {permission_rules} WHERE tool_id = :tool AND (expires_at IS NULL OR expires_at > :now)
AND (chat_id IS NULL OR chat_id = :chat) AND (agent_id IS NULL OR agent_id = :agent) ORDER BY created_at, rowid
"""
_TOOL_RULES = """
SELECT r.*, c.name AS chat, a.name AS agent FROM {permission_rules} r
LEFT JOIN {chats} c ON c.id = r.chat_id LEFT JOIN {agents} a ON a.id = r.agent_id
WHERE r.tool_id = ? ORDER BY r.created_at, r.rowid
"""


def list_active_rules(database: Database, tool_id: str, *, chat_id: str | None, agent_id: str | None) -> list[Row]:
    """Return the unexpired rules that apply to a call, as records."""
    shape = Serializer(database, "permission_rules")
    values = {"tool": tool_id, "chat": chat_id, "agent": agent_id, "now": clock.now()}
    return [shape.to_record(row) for row in database.rows(_ACTIVE_RULES, values)]


def list_rules(database: Database, tool_id: str) -> list[Row]:
    """Return all rules of a tool as records, expired ones included."""
    shape = Serializer(database, "permission_rules")
    return [shape.to_record(row) for row in database.rows(_TOOL_RULES, (tool_id,))]


def add_rule(
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


def delete_rules(database: Database, tool_id: str) -> int:
    """Delete all rules of a tool; return their number."""
    with database.transaction(durable=True):
        return database.execute("DELETE FROM {permission_rules} WHERE tool_id = ?", (tool_id,))
