"""Connections: named ways to reach a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.ids import new_id
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records import settings
from llmctl.store.serialize import Shape
from llmctl.store.writes import Delete, Insert, Update, Write

TABLE = "model_connections"

_USE = """
SELECT (SELECT count(*) FROM {chats} WHERE source_id = :id AND type <> 'agent') AS chats,
  (SELECT count(*) FROM {agents} WHERE chat_model_id = :id) AS agents,
  (SELECT count(*) FROM {requests} WHERE connection = :name) AS requests
"""


def listed(database: Database) -> list[Row]:
    """Return all connections as records, the oldest first."""
    shape = Shape(database, TABLE)
    return [shape.record(row) for row in database.rows("SELECT * FROM {model_connections} ORDER BY created_at, rowid")]


def get(database: Database, ref: str) -> Row:
    """Return the connection that a REF means, as a record."""
    return Shape(database, TABLE).record(refs.get(database, TABLE, ref, kind="connection"))


def find(database: Database, name: str) -> Row | None:
    """Return the connection of exactly that name as a record, or None."""
    row = database.one("SELECT * FROM {model_connections} WHERE name = ?", (name,))
    return Shape(database, TABLE).record(row) if row else None


def default_name(database: Database) -> str | None:
    """Return the name of the connection that is used when none is named, if there is one."""
    chosen = settings.value(database, "default_connection")
    if chosen:
        return (
            str(database.value("SELECT name FROM {model_connections} WHERE ? IN (name, id)", (chosen,)) or "") or None
        )
    found: str | None = database.value(
        "SELECT name FROM {model_connections} WHERE provider <> 'echo' AND type = 'chat' ORDER BY created_at, rowid"
    )
    return found


def use(database: Database, connection: Row) -> Row:
    """Return how many chats, agents and requests a connection has."""
    found = database.one(_USE, {"id": connection["id"], "name": connection["name"]})
    assert found is not None
    return found


def add(database: Database, values: Mapping[str, Any], *, then: tuple[Write, ...] = ()) -> Row:
    """Keep a new connection; UsageError where its name is taken."""
    now = clock.now()
    row = {"id": new_id(), **values, "created_at": now, "updated_at": now}
    with database.transaction(durable=True):
        _refuse_taken(database, str(values["name"]), str(row["id"]))
        database.commit(Insert(TABLE, row), *then)
    return get(database, str(row["id"]))


def update(database: Database, id: str, changes: Mapping[str, Any]) -> Row:
    """Change a connection; UsageError where its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _refuse_taken(database, str(changes["name"]), id)
        database.commit(Update(TABLE, id, {**changes, "updated_at": clock.now()}))
    return get(database, id)


def remove(database: Database, id: str) -> None:
    """Delete a connection. Chats, agents and the ledger stay."""
    database.commit(Delete(TABLE, {"id": id}), durable=True)


def _refuse_taken(database: Database, name: str, id: str) -> None:
    if database.value("SELECT 1 FROM {model_connections} WHERE name = ? AND id <> ?", (name, id)):
        raise UsageError(
            f'there is a connection "{name}" already',
            hint=f"change it with: llmctl connection edit {name}; or choose another name",
        )
