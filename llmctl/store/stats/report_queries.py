"""Queries of the report besides ``stats``: top requests, failures, newest chats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from llmctl.store.database import Database, Row
from llmctl.store.records import chat_summaries
from llmctl.store.stats.group_by import Scope

Measure = Literal["cost", "duration"]

#: Below this number of requests they are sorted; above it the index on the measure is faster.
_SORT_BELOW = 20_000

_TOP_REQUESTS = """
SELECT r.id, r.created_at, r.chat_id, c.name AS chat, coalesce(r.response_model, r.model) AS model, r.provider,
  r.connection, r.agent, r.tag, r.status, r.input_tokens, r.output_tokens, r.cached_tokens, r.cost,
  r.duration AS duration_ms, r.time_to_first_token AS time_to_first_token_ms
FROM (SELECT rowid AS place FROM {{requests}} WHERE {measure} > 0{range} ORDER BY {measure} DESC LIMIT :limit) n
CROSS JOIN {{requests}} r ON r.rowid = n.place
LEFT JOIN {{chats}} c ON c.id = r.chat_id
ORDER BY r.{measure} DESC
"""
_FAILURES = """
SELECT coalesce(error_reason, error_code, 'unknown') AS reason, lower(provider) AS provider, count(*) AS requests,
  max(created_at) AS last_at, max(error) AS example
FROM (SELECT * FROM {{requests}} WHERE true{range} ORDER BY created_at DESC LIMIT :limit)
WHERE status = 'failed' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20
"""
_NEWEST_CHATS = """
SELECT id FROM {{chats}} WHERE last_turn_at IS NOT NULL{range} ORDER BY last_turn_at DESC LIMIT :limit
"""
_SUMS = """
SELECT count(*) AS requests, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(nullif(cost, CASE origin WHEN 'orm' THEN 0 END)) AS cost
FROM {requests} WHERE chat_id = ?
"""
_DAYS: dict[str | None, str] = {
    "day": """
SELECT substr(d.day, 1, 10) AS day, sum(d.requests) AS requests, sum(d.input_tokens + d.output_tokens) AS total_tokens,
  CASE WHEN sum(d.priced_requests) > 0 THEN sum(d.cost) END AS cost
FROM {{usage_daily}} d WHERE true{range} GROUP BY 1
""",
    None: """
SELECT substr(r.created_at, 1, 10) AS day, count(*) AS requests,
  sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0)) AS total_tokens,
  sum(nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END)) AS cost
FROM {{requests}} r WHERE r.status <> 'pending'{range} GROUP BY 1
""",
}


@contextmanager
def read_snapshot(database: Database) -> Iterator[None]:
    """Let the block read a snapshot of the hub, whatever others write in the meantime."""
    database.connection.execute("BEGIN")
    try:
        yield
    finally:
        database.connection.execute("ROLLBACK")


def top_requests(database: Database, scope: Scope, measure: Measure, request_count: int, limit: int) -> list[Row]:
    """Return the most expensive or slowest requests of a range, the highest first; ``request_count`` is its size."""
    # A plus disables a column's index: one of the two indexes is much faster than the other.
    time = "created_at" if request_count < _SORT_BELOW else "+created_at"
    sql = _TOP_REQUESTS.format(measure=measure, range=_time_range(scope, time))
    if request_count < _SORT_BELOW and (scope.since or scope.until):
        sql = sql.replace(f"WHERE {measure} > 0", f"WHERE +{measure} > 0").replace(
            f"ORDER BY {measure} DESC LIMIT", f"ORDER BY +{measure} DESC LIMIT"
        )
    return database.query(sql, {"since": scope.since, "until": scope.until, "limit": limit})


def failures(database: Database, scope: Scope, newest: int) -> list[Row]:
    """Return why the newest requests of a range failed: reason, provider, number, last time, example."""
    sql = _FAILURES.format(range=_time_range(scope, "created_at"))
    return database.query(sql, {"since": scope.since, "until": scope.until, "limit": newest})


def daily_totals(database: Database, scope: Scope) -> list[Row]:
    """Return requests, tokens and cost per UTC day of a range, without empty days."""
    result: list[Row] = []
    for unit, part in scope.split(["day"]):
        time = "r.created_at" if unit is None else "d.day"
        sql = _DAYS[unit].format(range=_time_range(part, time))
        result += database.query(sql, {"since": part.since, "until": part.until})
    return result


def newest_chats(database: Database, scope: Scope, limit: int) -> list[str]:
    """Return the ids of the most recently used chats of a range."""
    sql = _NEWEST_CHATS.format(range=_time_range(scope, "last_turn_at"))
    return [row["id"] for row in database.rows(sql, {"since": scope.since, "until": scope.until, "limit": limit})]


def summarize_chats(database: Database, ids: Sequence[str]) -> list[Row]:
    """Return chats as in listings, each with tokens and cost of all its requests."""
    return [_chat_summary(database, id) for id in ids]


def _chat_summary(database: Database, id: str) -> Row:
    sums: dict[str, Any] = database.one(_SUMS, (id,)) or {}
    return chat_summaries.get(database, id) | sums


def _time_range(scope: Scope, time: str) -> str:
    return "".join(f" AND {condition}" for condition in scope.time_conditions(time))
