"""The tools table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import loads
from llmctl.core.tools import Tool
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records.types import ToolRow
from llmctl.store.serialize import Serializer
from llmctl.store.writes import Delete, Insert, Update

TABLE = "tools"


def list_(database: Database) -> list[Row]:
    """Return all tools as records, oldest first."""
    shape = Serializer(database, TABLE)
    return [shape.to_record(row) for row in database.rows("SELECT * FROM {tools} ORDER BY created_at, rowid")]


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
            hint=f"change it with: llmctl tool edit {name}; or choose another name",
        )
