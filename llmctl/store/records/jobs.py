"""Commands that are run as jobs: is one of a name under way, when did one succeed last, how did each name fare."""

from __future__ import annotations

from llmctl.store.database import Database, Row

_UNDER_WAY = "SELECT * FROM {jobs} WHERE type = 'command' AND name = ? AND status IN ('pending', 'running')"
_SUCCEEDED = """
SELECT * FROM {jobs} WHERE type = 'command' AND name = :name AND status = 'completed' AND started_at >= :since
ORDER BY started_at DESC LIMIT 1
"""
_BY_NAME = """
SELECT name, count(*) AS runs, sum(status = 'failed') AS failed, max(created_at) AS last_at,
  max(CASE status WHEN 'completed' THEN finished_at END) AS last_success_at
FROM {jobs} WHERE type = 'command' AND (:name IS NULL OR name = :name) GROUP BY name ORDER BY last_at DESC
"""
_LAST = """
SELECT status, exit_code, error FROM {jobs} WHERE type = 'command' AND name = ?
ORDER BY created_at DESC, rowid DESC LIMIT 1
"""


def known(database: Database, job_id: str | None) -> str | None:
    """Return the id where the hub has a job of it."""
    return job_id and database.value("SELECT id FROM {jobs} WHERE id = ?", (job_id,))


def under_way(database: Database, name: str) -> list[Row]:
    """Return the commands of a name that run or wait to be run, by what their rows say."""
    return database.query(_UNDER_WAY, (name,))


def succeeded(database: Database, name: str, since: str) -> Row | None:
    """Return the newest command of a name that began since then and ended well."""
    return database.one(_SUCCEEDED, {"name": name, "since": since})


def by_name(database: Database, name: str | None = None) -> list[Row]:
    """Return how the commands of each name fared: runs, failures, the last one, the last that ended well."""
    rows = database.query(_BY_NAME, {"name": name})
    for row in rows:
        last = database.one(_LAST, (row["name"],)) or {}
        row |= {f"last_{key}": value for key, value in last.items()}
    return rows
