"""Tools: what models and people may run."""

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
from llmctl.store.serialize import Shape
from llmctl.store.writes import Delete, Insert, Update

TABLE = "tools"


def listed(database: Database) -> list[Row]:
    """Return all tools as records, the oldest first."""
    shape = Shape(database, TABLE)
    return [shape.record(row) for row in database.rows("SELECT * FROM {tools} ORDER BY created_at, rowid")]


def get(database: Database, ref: str) -> Row:
    """Return the tool that a REF means, as a record."""
    return Shape(database, TABLE).record(refs.get(database, TABLE, ref, kind="tool"))


def find(database: Database, ref: str) -> Row | None:
    """Return the tool that a REF means as a record, or None."""
    row = refs.find(database, TABLE, ref, kind="tool")
    return Shape(database, TABLE).record(row) if row else None


def named(database: Database, name: str) -> Row | None:
    """Return the tool of exactly that name as a record, or None."""
    row = database.one("SELECT * FROM {tools} WHERE name = ?", (name,))
    return Shape(database, TABLE).record(row) if row else None


def of_ids(database: Database, ids: list[str]) -> list[Row]:
    """Return the tools of these ids, in their order; those that are gone are left out."""
    found = {row["id"]: row for id in ids for row in database.query("SELECT * FROM {tools} WHERE id = ?", (id,))}
    return [found[id] for id in ids if id in found]


def as_tool(row: Mapping[str, Any]) -> Tool:
    """Return the tool in a row or a record of ``tools``."""
    return Tool(
        name=row["name"],
        type=row["type"],
        description=row["description"] or "",
        schema=_object(row["schema"]),
        data=_object(row["data"]),
        id=row["id"],
    )


def add(database: Database, *values: Mapping[str, Any]) -> list[Row]:
    """Keep new tools, all or none; UsageError where a name is taken."""
    now = clock.now()
    rows = [{"id": new_id(), **one, "created_at": now, "updated_at": now} for one in values]
    with database.transaction(durable=True):
        for row in rows:
            _refuse_taken(database, str(row["name"]), str(row["id"]))
            database.commit(Insert(TABLE, row))
    return [get(database, str(row["id"])) for row in rows]


def ensure(database: Database, values: Mapping[str, Any]) -> Row:
    """Return the tool of that name, made if it is not there."""
    with database.transaction():
        row = database.one("SELECT * FROM {tools} WHERE name = ?", (values["name"],))
        return row or add(database, values)[0]


def update(database: Database, id: str, changes: Mapping[str, Any]) -> Row:
    """Change a tool; UsageError where its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _refuse_taken(database, str(changes["name"]), id)
        database.commit(Update(TABLE, id, {**changes, "updated_at": clock.now()}))
    return get(database, id)


def remove(database: Database, id: str) -> None:
    """Delete a tool. Its runs stay."""
    database.commit(Delete(TABLE, {"id": id}), durable=True)


def _object(value: Any) -> Mapping[str, Any]:
    found = loads(value, {}) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _refuse_taken(database: Database, name: str, id: str) -> None:
    if database.value("SELECT 1 FROM {tools} WHERE name = ? AND id <> ?", (name, id)):
        raise UsageError(
            f'there is a tool "{name}" already',
            hint=f"change it with: llmctl tool edit {name}; or choose another name",
        )
