"""Model aliases, and model prices as dated rows. A price that requests refer to is never changed, only superseded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.store import refs
from llmctl.store.database import Database, Delete, Insert, Row, Serializer, Update, Write
from llmctl.store.records.types import AliasRow, ConnectionRow, PriceRow, RequestRow

_PRICES = "model_prices"
_ALIASES = "model_aliases"
_CONNECTIONS = "model_connections"
#: Source of prices set by the user; others name a data set and its version.
USER_SOURCE = "user"
#: ``details`` of the row that records that a data set has no price for a model.
NO_PRICE = '{"unknown":true}'

#: Name of the reference from an alias to the connection in its target.
ALIAS_CONNECTION = "connection"

_RATES = ("input", "output", "cached", "cache_write", "thinking")
_COLUMNS = tuple(f"{name}_per_million" for name in _RATES)
_CONTENT = (*_COLUMNS, "details", "valid_from")

_PRICE = "SELECT * FROM {model_prices} WHERE id = ?"
# A cost without a price row was reported by the provider, or is that of a server that costs nothing.
_TO_PRICE = """
SELECT * FROM {requests}
WHERE status <> 'pending' AND coalesce(input_tokens, output_tokens) IS NOT NULL
  AND (cost IS NULL OR (origin = 'orm' AND cost = 0) OR (:everything AND price_id IS NOT NULL))
  AND created_at >= :since AND (created_at, id) > (:after, :last)
ORDER BY created_at, id LIMIT :size
"""


def prices_for_models(database: Database, provider: str, models: Sequence[str]) -> list[PriceRow]:
    """Return all prices of one or two models, the latest ``valid_from`` first."""
    return list(map(PriceRow.from_row, _query_prices(database, provider, models)))


def find_price(database: Database, id: str) -> PriceRow | None:
    """Return the price with that id, or None."""
    return PriceRow.find_row(database.one(_PRICE, (id,)))


def list_prices(database: Database, provider: str, model: str) -> list[Row]:
    """Return the prices of a model as records, newest first."""
    shape = Serializer(database, _PRICES)
    return [shape.to_record(row) for row in _query_prices(database, provider, [model]) if row["details"] != NO_PRICE]


def store_source_prices(
    database: Database, provider: str, model: str, source: str, prices: Iterable[Mapping[str, Any]]
) -> list[PriceRow]:
    """Store a data set's prices of a model (columns from ``input_per_million`` on); return its rows.

    An equal price of an earlier version of the set keeps its row, under the new version. An empty result is stored
    as well, so that the set is not searched again before its next version.
    """
    wanted = list(prices) or [{"details": NO_PRICE}]
    with database.transaction():
        known = [row for row in prices_for_models(database, provider, [model]) if row.source != USER_SOURCE]
        now = clock.now()
        for content in wanted:
            values = [content.get(name) for name in _CONTENT]
            same = next((row for row in known if [getattr(row, name) for name in _CONTENT] == values), None)
            if same is None:
                _add_price(database, provider, model, source, content, now)
            elif same.source != source:
                database.commit(Update(_PRICES, same.id, {"source": source, "updated_at": now}))
        return [row for row in prices_for_models(database, provider, [model]) if row.source == source]


def add_user_price(database: Database, provider: str, model: str, content: Mapping[str, Any]) -> Row:
    """Add a user-defined price from a date on; it replaces one that begins at the same time."""
    with database.transaction(durable=True):
        now = clock.now()
        id = _add_price(
            database, provider, model, USER_SOURCE, {**content, "details": dumps(content.get("details") or {})}, now
        )
    row = database.one(_PRICE, (id,))
    assert row is not None
    return row


def requests_to_price(
    database: Database, *, since: str | None, everything: bool, size: int
) -> Iterator[list[RequestRow]]:
    """Yield batches of requests whose cost must be recalculated, oldest first."""
    values: dict[str, Any] = {"since": since or "", "everything": everything, "size": size, "after": "", "last": ""}
    while rows := database.query(_TO_PRICE, values):
        yield list(map(RequestRow.from_row, rows))
        values |= {"after": rows[-1]["created_at"], "last": rows[-1]["id"]}


def _query_prices(database: Database, provider: str, models: Sequence[str]) -> list[Row]:
    first, last = models[0], models[-1]
    return database.query(
        "SELECT * FROM {model_prices} WHERE provider = ? AND model IN (?, ?)"
        " ORDER BY valid_from DESC, created_at DESC, rowid DESC",
        (provider, first, last),
    )


def _add_price(database: Database, provider: str, model: str, source: str, content: Mapping[str, Any], now: str) -> str:
    id = new_id()
    row = {name: content.get(name) for name in _CONTENT}
    named = {"id": id, "provider": provider, "model": model, "source": source, "created_at": now, "updated_at": now}
    database.commit(Insert(_PRICES, {**named, **row}))
    return id


def list_aliases(database: Database) -> list[Row]:
    """Return all aliases as records, sorted by name."""
    shape = Serializer(database, _ALIASES)
    return [shape.to_record(row) for row in database.rows("SELECT * FROM {model_aliases} ORDER BY name")]


def get_alias(database: Database, ref: str) -> Row:
    """Return the alias a REF refers to as a record; raise NotFoundError for none."""
    return Serializer(database, _ALIASES).to_record(refs.get(database, _ALIASES, ref, kind="alias"))


def find_alias(database: Database, name: str) -> AliasRow | None:
    """Return the alias with exactly that name, or None."""
    return AliasRow.find_row(database.one("SELECT * FROM {model_aliases} WHERE name = ?", (name,)))


def alias_model(alias: AliasRow) -> str | None:
    """Return the model of an alias to CONNECTION:MODEL, None for an alias to a connection and its model."""
    return alias.target.partition(":")[2] or None


def set_alias(database: Database, name: str, target: str, options: Mapping[str, Any]) -> Row:
    """Add an alias, or replace the one with that name. One to a connection keeps that connection's id."""
    with database.transaction(durable=True):
        now, old = clock.now(), find_alias(database, name)
        target, connection = _pin_target(database, target)
        others = {key: id for key, id in loads(old.refs if old else None, {}).items() if key != ALIAS_CONNECTION}
        content = {"target": target, "options": dumps(dict(options)), "updated_at": now}
        content["refs"] = dumps({**others, **({ALIAS_CONNECTION: connection} if connection else {})})
        if old:
            database.commit(Update(_ALIASES, old.id, content))
        else:
            database.commit(Insert(_ALIASES, {"id": new_id(), "name": name, **content, "created_at": now}))
    return get_alias(database, name)


def _pin_target(database: Database, target: str) -> tuple[str, str | None]:
    """Return the target by name, and the id of its connection; None for an alias, a provider or a model."""
    row = refs.find(database, _CONNECTIONS, target, kind="connection")
    if row is not None:
        return str(row["name"]), str(row["id"])
    if find_alias(database, target):
        return target, None
    head, colon, _ = target.partition(":")
    id = database.value("SELECT id FROM {model_connections} WHERE name = ?", (head,)) if colon else None
    return target, id


def alias_writes(database: Database, connection: ConnectionRow, new_name: str | None = None) -> tuple[Write, ...]:
    """Return what keeps the meaning of aliases to a connection that gets another name, or is removed (None).

    Aliases of older versions have the name alone: they get the id.
    """
    now = clock.now()
    aliases = map(AliasRow.from_row, database.query("SELECT * FROM {model_aliases} ORDER BY name"))
    writes = []
    for alias in aliases:
        references = loads(alias.refs, {})
        is_named = alias.target == connection.name or alias.target.startswith(f"{connection.name}:")
        pinned = references.get(ALIAS_CONNECTION)
        if pinned == connection.id or (pinned is None and is_named):
            model = alias_model(alias)
            name = new_name or connection.name
            changes = {"target": f"{name}:{model}" if model else name, "updated_at": now}
            changes["refs"] = dumps({**references, ALIAS_CONNECTION: connection.id})
            writes.append(Update(_ALIASES, alias.id, changes))
    return tuple(writes)


def delete_alias(database: Database, id: str) -> None:
    """Delete an alias. Chats started with it keep its target."""
    database.commit(Delete(_ALIASES, {"id": id}), durable=True)
