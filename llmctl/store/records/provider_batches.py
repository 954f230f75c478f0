"""The tables ``provider_batches`` and, as far as batches need it, ``map_items``: who asked what in which batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl.store import refs
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records.types import MapItemRow, ProviderBatchRow

#: Statuses of a batch that the provider may still work on, or may have taken in.
OPEN = ("pending", "submitting", "running", "cancelling")

_LIST = "SELECT * FROM {provider_batches} ORDER BY created_at DESC, rowid DESC LIMIT :limit"
_OF_JOB = "SELECT * FROM {provider_batches} WHERE job_id = ? ORDER BY created_at, rowid"
_UNFETCHED = """
SELECT * FROM {provider_batches} WHERE job_id = ? AND fetched_at IS NULL AND status <> 'failed' ORDER BY rowid
"""
_PENDING = """
SELECT * FROM {map_items}
WHERE job_id = :job AND status = 'pending' AND position > :after AND (:repeats OR attempts = 0)
ORDER BY position LIMIT :limit
"""
_ITEM = "SELECT * FROM {map_items} WHERE job_id = ? AND position = ?"
_ITEMS = "SELECT * FROM {map_items} WHERE job_id = :job AND position > :after ORDER BY position LIMIT :limit"
_COUNTS = "SELECT status, count(*) AS count FROM {map_items} WHERE job_id = ? GROUP BY status"
_ASSIGN = """
UPDATE {map_items} SET status = 'submitted', batch_id = :batch, attempts = attempts + 1, updated_at = :now
WHERE id = :id
"""
_RELEASE = """
UPDATE {map_items} SET status = :status, batch_id = NULL, error_code = :code, error = :error,
  attempts = attempts - :undone, updated_at = :now
WHERE batch_id = :batch AND status = 'submitted'
"""
_RESET = """
UPDATE {map_items} SET status = 'pending', batch_id = NULL, error_code = NULL, error = NULL, updated_at = :now
WHERE job_id = :job AND status = :status
"""
_INSERT_ITEM = """
INSERT INTO {map_items} (id, job_id, position, custom_id, input_hash, input, created_at, updated_at)
VALUES (:id, :job_id, :position, :custom_id, :input_hash, :input, :now, :now)
"""
_PAGE = 1000


def list_records(database: Database, limit: int | None) -> Iterator[Row]:
    """Yield batches as records, newest first."""
    shape = Serializer(database, "provider_batches")
    rows = database.rows(_LIST, {"limit": -1 if limit is None else limit})
    return (shape.to_record(row) for row in rows)


def count(database: Database) -> int:
    """Return how many batches there are."""
    number: int = database.value("SELECT count(*) FROM {provider_batches}")
    return number


def get_record(database: Database, id: str) -> Row:
    """Return the batch with that id as a record."""
    return Serializer(database, "provider_batches").to_record(refs.get(database, "provider_batches", id, kind="batch"))


def find(database: Database, ref: str) -> ProviderBatchRow | None:
    """Return the batch a REF refers to, or None."""
    return ProviderBatchRow.find_row(refs.find(database, "provider_batches", ref, kind="batch"))


def list_of_job(database: Database, job_id: str) -> list[ProviderBatchRow]:
    """Return the batches of a job, oldest first."""
    return list(map(ProviderBatchRow.from_row, database.rows(_OF_JOB, (job_id,))))


def list_unfetched(database: Database, job_id: str) -> list[ProviderBatchRow]:
    """Return the batches of a job whose results are not in the hub, oldest first."""
    return list(map(ProviderBatchRow.from_row, database.query(_UNFETCHED, (job_id,))))


def iter_pending(database: Database, job_id: str, *, repeats: bool) -> Iterator[MapItemRow]:
    """Yield the items of a job that are in no batch, in order; with ``repeats`` also those that were in one."""
    after = 0
    while rows := database.query(_PENDING, {"job": job_id, "after": after, "limit": _PAGE, "repeats": repeats}):
        yield from map(MapItemRow.from_row, rows)
        after = rows[-1]["position"]


def iter_items(database: Database, job_id: str) -> Iterator[MapItemRow]:
    """Yield all items of a job, in order."""
    after = 0
    while rows := database.query(_ITEMS, {"job": job_id, "after": after, "limit": _PAGE}):
        yield from map(MapItemRow.from_row, rows)
        after = rows[-1]["position"]


def count_batch_items(database: Database, batch_id: str) -> int:
    """Return how many items a batch has."""
    count: int = database.value("SELECT count(*) FROM {map_items} WHERE batch_id = ?", (batch_id,))
    return count


def find_item(database: Database, job_id: str, position: int) -> MapItemRow | None:
    """Return the item at a position, or None."""
    return MapItemRow.find_row(database.one(_ITEM, (job_id, position)))


def count_items(database: Database, job_id: str) -> dict[str, int]:
    """Return status -> number of items."""
    return {row["status"]: row["count"] for row in database.rows(_COUNTS, (job_id,))}


def add_items(database: Database, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert items, in the running transaction; raises sqlite3.IntegrityError for a repeated custom id."""
    database.connection.executemany(database.sql(_INSERT_ITEM), rows)


def assign_items(database: Database, batch_id: str, ids: Iterable[str], now: str) -> None:
    """Make items part of a batch, in the running transaction."""
    values = ({"batch": batch_id, "id": id, "now": now} for id in ids)
    database.connection.executemany(database.sql(_ASSIGN), values)


def release_items(
    database: Database,
    batch_id: str,
    status: str,
    now: str,
    *,
    code: str | None = None,
    error: str | None = None,
    is_undone: bool = False,
) -> int:
    """Take the items without a result out of a batch, which counts as no attempt if undone; return how many."""
    values = {"batch": batch_id, "status": status, "code": code, "error": error, "now": now, "undone": is_undone}
    return database.execute(_RELEASE, values)


def reset_items(database: Database, job_id: str, status: str, now: str) -> int:
    """Make the items of a status pending again; return how many."""
    return database.execute(_RESET, {"job": job_id, "status": status, "now": now})
