"""The model_connections table: named connections to models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import new_id
from llmctl.store import refs
from llmctl.store.database import Database, Delete, Insert, Row, Serializer, Update, Write
from llmctl.store.records.types import ConnectionRow

TABLE = "model_connections"

_COUNT_USES = """
SELECT (SELECT count(*) FROM {chats} WHERE source_id = :id AND type <> 'agent') AS chats,
  (SELECT count(*) FROM {agents} WHERE chat_model_id = :id) AS agents,
  (SELECT count(*) FROM {requests} WHERE connection = :name) AS requests
"""


def list_(database: Database) -> list[Row]:
    """Return all connections as records, oldest first."""
    shape = Serializer(database, TABLE)
    return [
        shape.to_record(row) for row in database.rows("SELECT * FROM {model_connections} ORDER BY created_at, rowid")
    ]


def get(database: Database, ref: str) -> ConnectionRow:
    """Return the connection a REF refers to."""
    return ConnectionRow.from_row(refs.get(database, TABLE, ref, kind="connection"))


def get_record(database: Database, ref: str) -> Row:
    """Return the connection a REF refers to as a record."""
    return Serializer(database, TABLE).to_record(refs.get(database, TABLE, ref, kind="connection"))


def find(database: Database, ref: str) -> ConnectionRow | None:
    """Return the connection a REF refers to, or None."""
    return ConnectionRow.find_row(refs.find(database, TABLE, ref, kind="connection"))


def find_by_id(database: Database, id: str | None) -> ConnectionRow | None:
    """Return the connection with that id, or None."""
    return ConnectionRow.find_row(database.one("SELECT * FROM {model_connections} WHERE id = ?", (id,)))


def find_by_name(database: Database, name: str) -> ConnectionRow | None:
    """Return the connection with exactly that name, or None."""
    return ConnectionRow.find_row(database.one("SELECT * FROM {model_connections} WHERE name = ?", (name,)))


def list_by_model(database: Database, model: str, type: str) -> list[ConnectionRow]:
    """Return the connections of a type with that model, or else those for chats, oldest first."""
    sql = "SELECT * FROM {model_connections} WHERE model_id = ? AND type = ? ORDER BY created_at, rowid"
    rows = database.query(sql, (model, type)) or database.query(sql, (model, "chat"))
    return list(map(ConnectionRow.from_row, rows))


def find_by_provider(database: Database, provider: str) -> ConnectionRow | None:
    """Return a chat connection to a provider (lower case), the one named like it or else the oldest, or None."""
    return ConnectionRow.find_row(
        database.one(
            "SELECT * FROM {model_connections} WHERE lower(provider) = :name AND type = 'chat'"
            " ORDER BY name <> :name, created_at LIMIT 1",
            {"name": provider},
        )
    )


def find_oldest(database: Database, type: str, *, provider: str | None = None) -> ConnectionRow | None:
    """Return the oldest connection of a type, to a provider (lower case) if one is given, or None."""
    return ConnectionRow.find_row(
        database.one(
            "SELECT * FROM {model_connections} WHERE type = ? AND lower(provider) = coalesce(?, lower(provider))"
            " ORDER BY created_at, rowid LIMIT 1",
            (type, provider),
        )
    )


def list_remote(database: Database, type: str | None = None) -> list[ConnectionRow]:
    """Return all connections except those to echo, oldest first."""
    return list(
        map(
            ConnectionRow.from_row,
            database.query(
                "SELECT * FROM {model_connections} WHERE provider <> 'echo' AND type = coalesce(?, type)"
                " ORDER BY created_at, rowid",
                (type,),
            ),
        )
    )


def count_uses(database: Database, connection: ConnectionRow) -> Row:
    """Return how many chats, agents and requests a connection has."""
    row = database.one(_COUNT_USES, {"id": connection.id, "name": connection.name})
    assert row is not None
    return row


def add(database: Database, values: Mapping[str, Any], *, then: tuple[Write, ...] = ()) -> ConnectionRow:
    """Add a connection; raise UsageError if its name is taken."""
    now = clock.now()
    row = {"id": new_id(), **values, "created_at": now, "updated_at": now}
    with database.transaction(durable=True):
        _require_free_name(database, str(values["name"]), str(row["id"]))
        database.commit(Insert(TABLE, row), *then)
    return get(database, str(row["id"]))


def update(database: Database, id: str, changes: Mapping[str, Any], *, then: tuple[Write, ...] = ()) -> ConnectionRow:
    """Change a connection; raise UsageError if its new name is taken."""
    with database.transaction(durable=True):
        if "name" in changes:
            _require_free_name(database, str(changes["name"]), id)
        database.commit(Update(TABLE, id, {**changes, "updated_at": clock.now()}), *then)
    return get(database, id)


def delete(database: Database, id: str, *, then: tuple[Write, ...] = ()) -> None:
    """Delete a connection. Chats, agents and the ledger stay."""
    database.commit(Delete(TABLE, {"id": id}), *then, durable=True)


def _require_free_name(database: Database, name: str, id: str) -> None:
    if database.value("SELECT 1 FROM {model_connections} WHERE name = ? AND id <> ?", (name, id)):
        raise UsageError(
            f'connection "{name}" already exists',
            hint=f"change it: llmctl connection edit {name}; or choose another name",
        )
