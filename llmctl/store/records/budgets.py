"""Spending in a period, and costs reserved by running requests."""

from __future__ import annotations

from llmctl.store.database import Database
from llmctl.store.records.types import JobRow

# Periods begin with an hour, so the roll-up covers them. Few rows have reserved costs, and they are indexed.
_SPENDING = """
SELECT
  (SELECT coalesce(sum(cost), 0) FROM {usage_hourly} WHERE hour >= :since) AS spent,
  (SELECT coalesce(sum(reserved_cost), 0) FROM {requests} WHERE reserved_cost > 0 AND created_at >= :since) AS set_aside
"""
_RESERVING_JOBS = """
SELECT DISTINCT j.* FROM {requests} r JOIN {jobs} j ON j.id = r.job_id
WHERE r.reserved_cost > 0 AND r.status = 'pending' AND j.status = 'running'
"""


def get_spending(database: Database, since: str) -> tuple[float, float]:
    """Return the costs spent and the costs reserved since the beginning of a UTC hour."""
    row = database.one(_SPENDING, {"since": since})
    assert row is not None
    return row["spent"], row["set_aside"]


def list_reserving_jobs(database: Database) -> list[JobRow]:
    """Return the running jobs with requests that have reserved costs."""
    return list(map(JobRow.from_row, database.query(_RESERVING_JOBS)))
