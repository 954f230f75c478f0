"""Prices of models as dated rows. A row that requests were priced by is never changed; a newer one takes its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Insert, Update

TABLE = "model_prices"
#: Source of the rows that a person made; others name a data set and its version.
USER = "user"
#: ``details`` of the row that notes that a data set has no price for a model.
UNKNOWN = '{"unknown":true}'

_RATES = ("input", "output", "cached", "cache_write", "thinking")
_COLUMNS = tuple(f"{name}_per_million" for name in _RATES)
_CONTENT = (*_COLUMNS, "details", "valid_from")

# A cost without a row it was priced by is a provider's own word, or that of a server that costs nothing.
_TO_PRICE = """
SELECT * FROM {requests}
WHERE status <> 'pending' AND coalesce(input_tokens, output_tokens) IS NOT NULL
  AND (cost IS NULL OR (origin = 'orm' AND cost = 0) OR (:everything AND price_id IS NOT NULL))
  AND created_at >= :since AND (created_at, id) > (:after, :last)
ORDER BY created_at, id LIMIT :size
"""


def of_models(database: Database, provider: str, models: Sequence[str]) -> list[Row]:
    """Return all rows of one or two models, those that begin latest first."""
    first, last = models[0], models[-1]
    return database.query(
        "SELECT * FROM {model_prices} WHERE provider = ? AND model IN (?, ?)"
        " ORDER BY valid_from DESC, created_at DESC, rowid DESC",
        (provider, first, last),
    )


def get(database: Database, id: str) -> Row | None:
    """Return the row of that id, or None."""
    return database.one("SELECT * FROM {model_prices} WHERE id = ?", (id,))


def records(database: Database, provider: str, model: str) -> list[Row]:
    """Return what a model cost and costs, as records, the newest first; without notes that nothing is known."""
    shape = Shape(database, TABLE)
    return [shape.record(row) for row in of_models(database, provider, [model]) if row["details"] != UNKNOWN]


def remember(
    database: Database, provider: str, model: str, source: str, found: Iterable[Mapping[str, Any]]
) -> list[Row]:
    """Keep what a data set says of a model (columns from ``input_per_million`` on); return its rows.

    What an earlier version of the set said in the same words stays that row, under the new version. Nothing found is
    kept as well, so that nobody looks again before the next version.
    """
    wanted = list(found) or [{"details": UNKNOWN}]
    with database.transaction():
        known = [row for row in of_models(database, provider, [model]) if row["source"] != USER]
        now = clock.now()
        for content in wanted:
            same = next((row for row in known if all(row[name] == content.get(name) for name in _CONTENT)), None)
            if same is None:
                _add(database, provider, model, source, content, now)
            elif same["source"] != source:
                database.commit(Update(TABLE, same["id"], {"source": source, "updated_at": now}))
        return [row for row in of_models(database, provider, [model]) if row["source"] == source]


def override(database: Database, provider: str, model: str, content: Mapping[str, Any]) -> Row:
    """Keep a price of the user's own from a date on; one that begins at the same time is replaced by it."""
    with database.transaction(durable=True):
        now = clock.now()
        id = _add(database, provider, model, USER, {**content, "details": dumps(content.get("details") or {})}, now)
    row = get(database, id)
    assert row is not None
    return row


def batches(database: Database, *, since: str | None, everything: bool, size: int) -> Iterator[list[Row]]:
    """Yield requests whose cost is to be told again, the oldest first, some at a time."""
    values: dict[str, Any] = {"since": since or "", "everything": everything, "size": size, "after": "", "last": ""}
    while rows := database.query(_TO_PRICE, values):
        yield rows
        values |= {"after": rows[-1]["created_at"], "last": rows[-1]["id"]}


def _add(database: Database, provider: str, model: str, source: str, content: Mapping[str, Any], now: str) -> str:
    id = new_id()
    row = {name: content.get(name) for name in _CONTENT}
    named = {"id": id, "provider": provider, "model": model, "source": source, "created_at": now, "updated_at": now}
    database.commit(Insert(TABLE, {**named, **row}))
    return id
