"""What was spent in a period, and what running requests have set aside."""

from __future__ import annotations

from llmctl.store.database import Database, Row

# Periods begin with an hour: the roll-up tells them whole. What is set aside stands in few rows, behind an index.
_USED = """
SELECT
  (SELECT coalesce(sum(cost), 0) FROM {usage_hourly} WHERE hour >= :since) AS spent,
  (SELECT coalesce(sum(reserved_cost), 0) FROM {requests} WHERE reserved_cost > 0 AND created_at >= :since) AS set_aside
"""
_HOLDERS = """
SELECT DISTINCT j.* FROM {requests} r JOIN {jobs} j ON j.id = r.job_id
WHERE r.reserved_cost > 0 AND r.status = 'pending' AND j.status = 'running'
"""


def used(database: Database, since: str) -> tuple[float, float]:
    """Return what was spent, and what is set aside, since the beginning of a (UTC) hour."""
    found = database.one(_USED, {"since": since})
    assert found is not None
    return found["spent"], found["set_aside"]


def holders(database: Database) -> list[Row]:
    """Return the running jobs with requests that have something set aside."""
    return database.query(_HOLDERS)
