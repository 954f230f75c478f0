"""The jobs table. Leases are the engine's business."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.values import Value
from llmctl.store import refs
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records.types import JobRow

_RUNNING_COMMANDS = "SELECT * FROM {jobs} WHERE type = 'command' AND name = ? AND status IN ('pending', 'running')"
_RUNNING_CHILDREN = """
SELECT * FROM {jobs} WHERE parent_id = :parent AND status = 'running'
AND (:pid IS NULL OR pid = :pid) AND (:host IS NULL OR host = :host)
"""
_LAST_SUCCESS = """
SELECT * FROM {jobs} WHERE type = 'command' AND name = :name AND status = 'completed' AND started_at >= :since
ORDER BY started_at DESC LIMIT 1
"""
_SUMMARY = """
SELECT name, count(*) AS runs, sum(status = 'failed') AS failed, max(created_at) AS last_at,
  max(CASE status WHEN 'completed' THEN finished_at END) AS last_success_at
FROM {jobs} WHERE type = 'command' AND (:name IS NULL OR name = :name) GROUP BY name ORDER BY last_at DESC
"""
_LAST = """
SELECT status, exit_code, error FROM {jobs} WHERE type = 'command' AND name = ?
ORDER BY created_at DESC, rowid DESC LIMIT 1
"""
STATUSES = ("pending", "running", "completed", "failed", "cancelled")
_FILTERED = """
FROM {jobs} WHERE (:status IS NULL OR status = :status) AND (:type IS NULL OR type = :type)
  AND (:name IS NULL OR name = :name) AND (:without IS NULL OR type <> :without)
"""
#: A log is a first row and its continuations.
_LOG_PIECES = """
SELECT id, text, position FROM {text_logs}
WHERE (id = :log OR series_id = :log) AND position >= :after ORDER BY position
"""
_LOCKED_THREADS = "SELECT id, chat_id FROM {message_threads} WHERE locking_job_id = ?"


def existing_id(database: Database, job_id: str | None) -> str | None:
    """Return the id if the hub has such a job, else None."""
    id: str | None = database.value("SELECT id FROM {jobs} WHERE id = ?", (job_id,))
    return id


def list_running(database: Database, *, commands: bool = True) -> list[JobRow]:
    """Return the jobs that run according to their rows, oldest first; their processes may be dead."""
    condition = "" if commands else " AND type <> 'command'"
    return list(
        map(
            JobRow.from_row,
            database.query(f"SELECT * FROM {{jobs}} WHERE status = 'running'{condition} ORDER BY created_at"),
        )
    )


def list_by_type(database: Database, type: str) -> Iterator[JobRow]:
    """Yield the jobs of a type, newest first."""
    rows = database.query("SELECT * FROM {jobs} WHERE type = ? ORDER BY created_at DESC, rowid DESC", (type,))
    return map(JobRow.from_row, rows)


def list_running_children(
    database: Database, job_id: str, *, pid: int | None = None, host: str | None = None
) -> list[JobRow]:
    """Return the running jobs that are part of a job; with ``pid`` and ``host`` only those of that process."""
    return list(map(JobRow.from_row, database.query(_RUNNING_CHILDREN, {"parent": job_id, "pid": pid, "host": host})))


def find_pending_command(database: Database, job_id: str) -> JobRow | None:
    """Return the row of a command job that has not been started, or None."""
    return JobRow.find_row(
        database.one("SELECT * FROM {jobs} WHERE id = ? AND status = 'pending' AND type = 'command'", (job_id,))
    )


def list_running_commands(database: Database, name: str) -> list[JobRow]:
    """Return the pending and running command jobs of a name; their processes may be dead."""
    return list(map(JobRow.from_row, database.query(_RUNNING_COMMANDS, (name,))))


def find_last_success(database: Database, name: str, since: str) -> JobRow | None:
    """Return the newest command job of a name that started since a time and succeeded, or None."""
    return JobRow.find_row(database.one(_LAST_SUCCESS, {"name": name, "since": since}))


def summarize_by_name(database: Database, name: str | None = None) -> list[Row]:
    """Return runs, failures, last run and last success of the command jobs of each name."""
    rows = database.query(_SUMMARY, {"name": name})
    for row in rows:
        last = database.one(_LAST, (row["name"],)) or {}
        row |= {f"last_{key}": value for key, value in last.items()}
    return rows


class JobFilter(Value):
    """Conditions on jobs; all that are set must hold. ``without`` is a type that is left out."""

    status: str | None = None
    type: str | None = None
    name: str | None = None
    without: str | None = None


def list_(database: Database, filters: JobFilter, limit: int | None) -> Iterator[Row]:
    """Yield jobs as records, newest first."""
    shape = Serializer(database, "jobs")
    sql = f"SELECT * {_FILTERED} ORDER BY created_at DESC, rowid DESC LIMIT :limit"
    values = filters.to_dict() | {"limit": -1 if limit is None else limit}
    return (shape.to_record(row) for row in database.rows(sql, values))


def count(database: Database, filters: JobFilter) -> int:
    """Return the number of jobs that match."""
    return int(database.value(f"SELECT count(*) {_FILTERED}", filters.to_dict()))


def find(database: Database, job_id: str | None) -> JobRow | None:
    """Return the row of a job's id, or None."""
    return JobRow.find_row(database.one("SELECT * FROM {jobs} WHERE id = ?", (job_id,)))


def get(database: Database, ref: str) -> JobRow:
    """Return the row of the job a REF refers to."""
    return JobRow.from_row(refs.get(database, "jobs", ref, kind="job"))


def get_record(database: Database, ref: str) -> Row:
    """Return the job a REF refers to as a record, with the threads it has locked."""
    row = refs.get(database, "jobs", ref, kind="job")
    locked = database.query(_LOCKED_THREADS, (row["id"],))
    return Serializer(database, "jobs").to_record(row) | {"holds": [thread["id"] for thread in locked]}


def list_log_pieces(database: Database, text_log_id: str, *, after: int = 0) -> list[Row]:
    """Return the rows of a log from a position on: ``id``, ``text``, ``position``."""
    return database.query(_LOG_PIECES, {"log": text_log_id, "after": after})
