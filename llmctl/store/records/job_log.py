"""Jobs and their logs, to look at. Their lease and life are the engine's."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape

STATUSES = ("pending", "running", "completed", "failed", "cancelled")

_LIST = """
SELECT * FROM {jobs} WHERE (:status IS NULL OR status = :status) AND (:type IS NULL OR type = :type)
  AND (:name IS NULL OR name = :name)
ORDER BY created_at DESC, rowid DESC LIMIT :limit
"""
#: A log is a row and its continuations.
_PIECES = """
SELECT id, text, position FROM {text_logs}
WHERE (id = :log OR series_id = :log) AND position >= :after ORDER BY position
"""
_HELD = "SELECT id, chat_id FROM {message_threads} WHERE locking_job_id = ?"


def listed(
    database: Database, status: str | None, type: str | None, name: str | None, limit: int | None
) -> Iterator[Row]:
    """Yield jobs as records, newest first."""
    shape = Shape(database, "jobs")
    values = {"status": status, "type": type, "name": name, "limit": -1 if limit is None else limit}
    return (shape.record(row) for row in database.rows(_LIST, values))


def get(database: Database, ref: str) -> Row:
    """Return the row of the job that a REF means."""
    return refs.get(database, "jobs", ref, kind="job")


def record(database: Database, row: Row) -> Row:
    """Return a job as a record, with the threads it holds."""
    held = database.query(_HELD, (row["id"],))
    return Shape(database, "jobs").record(row) | {"holds": [thread["id"] for thread in held]}


def pieces(database: Database, text_log_id: str, *, after: int = 0) -> list[Row]:
    """Return the pieces of a log from a position on: ``id``, ``text``, ``position``."""
    return database.query(_PIECES, {"log": text_log_id, "after": after})
