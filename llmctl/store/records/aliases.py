"""Names of the user's own for models, with options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Delete, Insert, Update

TABLE = "model_aliases"


def listed(database: Database) -> list[Row]:
    """Return all aliases as records, by name."""
    shape = Shape(database, TABLE)
    return [shape.record(row) for row in database.rows("SELECT * FROM {model_aliases} ORDER BY name")]


def get(database: Database, ref: str) -> Row:
    """Return the alias that a REF means, as a record; NotFoundError for none."""
    return Shape(database, TABLE).record(refs.get(database, TABLE, ref, kind="alias"))


def find(database: Database, name: str) -> Row | None:
    """Return the alias of exactly that name as a record, or None."""
    row = database.one("SELECT * FROM {model_aliases} WHERE name = ?", (name,))
    return Shape(database, TABLE).record(row) if row else None


def put(database: Database, name: str, target: str, options: Mapping[str, Any]) -> Row:
    """Keep an alias, new or in the place of the one of that name."""
    with database.transaction(durable=True):
        now, old = clock.now(), find(database, name)
        content = {"target": target, "options": dumps(dict(options)), "updated_at": now}
        if old:
            database.commit(Update(TABLE, old["id"], content))
        else:
            database.commit(Insert(TABLE, {"id": new_id(), "name": name, **content, "created_at": now}))
    return get(database, name)


def remove(database: Database, id: str) -> None:
    """Delete an alias. Chats that were begun under it keep what it meant."""
    database.commit(Delete(TABLE, {"id": id}), durable=True)
