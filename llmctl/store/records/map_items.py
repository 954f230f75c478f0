"""The rows of map jobs, and the jobs themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core.stored_values import loads
from llmctl.store.database import Database, Row
from llmctl.store.records.types import JobRow

#: The type of a map job.
TYPE = "map"

_INSERT = """
INSERT INTO {map_items} (id, job_id, position, custom_id, input_hash, input, created_at, updated_at)
VALUES (:id, :job_id, :position, :custom_id, :input_hash, :input, :now, :now)
"""
_FIND_POSITION = "SELECT position FROM {map_items} WHERE job_id = ? AND custom_id = ?"
_PENDING = """
SELECT id, position, custom_id, input, attempts FROM {map_items}
WHERE job_id = :job AND position > :after AND status = 'pending' ORDER BY position LIMIT :limit
"""
_HASHES = "SELECT position, input_hash FROM {map_items} WHERE job_id = ? ORDER BY position"
_COUNTS = "SELECT status, count(*) AS count FROM {map_items} WHERE job_id = ? GROUP BY status"
_RESET = """
UPDATE {map_items} SET status = 'pending', error_code = NULL, error = NULL, output = NULL, updated_at = :now
WHERE job_id = :job AND status = :status
"""
_RUNNING = "SELECT id FROM {map_items} WHERE job_id = ? AND status = 'running'"
#: The answer of a row is that of its message, unless something else was made of it.
_RESULTS = """
SELECT i.id, i.position, i.custom_id, i.input, i.status, i.request_id, i.attempts, i.error_code, i.error, i.output,
  m.content, r.error_reason,
  coalesce((SELECT sum(t.cost) FROM {requests} t WHERE t.thread_id = r.thread_id), r.cost) AS cost
FROM {map_items} i
LEFT JOIN {requests} r ON r.id = i.request_id
LEFT JOIN {messages} m ON m.id = r.message_id
"""
_RESULTS_AFTER = f"""{_RESULTS}
WHERE i.job_id = :job AND i.position > :after AND i.position <= :upto
  AND (:status IS NULL OR i.status = :status)
ORDER BY i.position LIMIT :limit
"""
_RESULT = f"{_RESULTS} WHERE i.id = ?"
_FINISHED_AFTER = f"""{_RESULTS}
WHERE i.job_id = :job AND i.position > :after AND i.status IN ('completed', 'failed') ORDER BY i.position LIMIT :limit
"""
_SPENT = "SELECT sum(cost) FROM {requests} WHERE job_id = ?"
_MAPS = "SELECT * FROM {jobs} WHERE type = 'map' AND name = ? ORDER BY created_at DESC, rowid DESC"


class PendingItem(NamedTuple):
    """A row that has no answer."""

    id: str
    position: int
    custom_id: str
    values: Mapping[str, Any]
    attempts: int


def add_many(database: Database, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows, in the running transaction; raises sqlite3.IntegrityError for a custom id that is there."""
    database.connection.executemany(database.sql(_INSERT), rows)


def find_position(database: Database, job_id: str, custom_id: str) -> int | None:
    """Return the position of the row with a custom id."""
    position: int | None = database.value(_FIND_POSITION, (job_id, custom_id))
    return position


def list_pending(database: Database, job_id: str, after: int, limit: int) -> list[PendingItem]:
    """Return the next rows without an answer, in order of the input."""
    rows = database.rows(_PENDING, {"job": job_id, "after": after, "limit": limit})
    return [
        PendingItem(row["id"], row["position"], row["custom_id"], loads(row["input"], {}), row["attempts"])
        for row in rows
    ]


def iter_hashes(database: Database, job_id: str) -> Iterator[tuple[int, str]]:
    """Yield position and hash of each row, in order."""
    return ((row["position"], row["input_hash"]) for row in database.rows(_HASHES, (job_id,)))


def count_by_status(database: Database, job_id: str) -> dict[str, int]:
    """Return status -> number of rows."""
    return {row["status"]: row["count"] for row in database.rows(_COUNTS, (job_id,))}


def list_running_ids(database: Database, job_id: str) -> list[str]:
    """Return the ids of rows that are being answered."""
    return [row["id"] for row in database.rows(_RUNNING, (job_id,))]


def reset(database: Database, job_id: str, status: str, now: str) -> int:
    """Make the rows of a status pending again; return how many."""
    return database.execute(_RESET, {"job": job_id, "status": status, "now": now})


def list_results(
    database: Database, job_id: str, *, after: int = 0, upto: int = 1 << 62, status: str | None = None, limit: int = -1
) -> Iterator[Row]:
    """Yield rows with their answers in order of the input, from after one position up to another."""
    values = {"job": job_id, "after": after, "upto": upto, "status": status, "limit": limit}
    return database.rows(_RESULTS_AFTER, values)


def list_finished(database: Database, job_id: str, after: int, limit: int) -> list[Row]:
    """Return the next answered and failed rows, with their answers."""
    return database.query(_FINISHED_AFTER, {"job": job_id, "after": after, "limit": limit})


def get_results(database: Database, ids: Sequence[str]) -> list[Row]:
    """Return these rows with their answers, in this order."""
    return [row for id in ids for row in database.rows(_RESULT, (id,))]


def sum_cost(database: Database, job_id: str) -> float | None:
    """Return what the requests of a job have cost; None where nothing could be priced."""
    cost: float | None = database.value(_SPENT, (job_id,))
    return cost


def list_maps(database: Database, name: str) -> list[JobRow]:
    """Return the map jobs of a name, newest first."""
    return list(map(JobRow.from_row, database.rows(_MAPS, (name,))))
