"""The ledger: requests, their HTTP attempts and streams, and what was spent. Written by the recorder, read here."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.values import Value
from llmctl.store import compact, refs
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records.types import JobRow, RequestRow

STATUSES = ("pending", "completed", "failed", "incomplete", "interrupted")

_LIST = """
SELECT r.*, c.name AS chat,
  (SELECT count(*) FROM {{network_calls}} n WHERE n.request_id = r.id) AS attempts
FROM (SELECT rowid AS place FROM {{requests}} WHERE {where} ORDER BY created_at DESC, rowid DESC LIMIT :limit) n
CROSS JOIN {{requests}} r ON r.rowid = n.place
LEFT JOIN {{chats}} c ON c.id = r.chat_id
ORDER BY r.created_at DESC, r.rowid DESC
"""
_CONDITIONS = {
    "chat_id": "chat_id = :chat_id",
    "status": "status = :status",
    "model": "(model = :model OR response_model = :model)",
    "provider": "lower(provider) = lower(:provider)",
    "since": "created_at >= :since",
}
_APPEND = "INSERT INTO {stream_chunks} (stream_id, seq, elapsed, data) VALUES (?, ?, ?, ?)"


class RequestFilter(Value):
    """Conditions on requests; all that are set must hold."""

    chat_id: str | None = None
    status: str | None = None
    model: str | None = None
    provider: str | None = None
    since: str | None = None


def list_(database: Database, filters: RequestFilter, limit: int | None) -> Iterator[Row]:
    """Yield requests as records, newest first, with the chat's name and the number of attempts."""
    shape = Serializer(database, "requests")
    values = filters.to_dict() | {"limit": -1 if limit is None else limit}
    return (shape.to_record(row) for row in database.rows(_LIST.format(where=_where(filters)), values))


def count(database: Database, filters: RequestFilter) -> int:
    """Return the number of requests that match."""
    sql = f"SELECT count(*) FROM {{requests}} WHERE {_where(filters)}"
    return int(database.value(sql, filters.to_dict()))


def _where(filters: RequestFilter) -> str:
    values = filters.to_dict()
    return " AND ".join(text for name, text in _CONDITIONS.items() if values[name] is not None) or "true"


def get(database: Database, ref: str) -> RequestRow:
    """Return the row of the request a REF refers to."""
    return RequestRow.from_row(refs.get(database, "requests", ref, kind="request"))


def get_record(database: Database, ref: str) -> Row:
    """Return the request a REF refers to as a record."""
    return Serializer(database, "requests").to_record(refs.get(database, "requests", ref, kind="request"))


def list_for_message(database: Database, message_id: str) -> list[Row]:
    """Return the requests that produced a message, as records."""
    shape = Serializer(database, "requests")
    rows = database.rows("SELECT * FROM {requests} WHERE message_id = ? ORDER BY created_at", (message_id,))
    return [shape.to_record(row) for row in rows]


def list_pending(database: Database, job_id: str) -> list[RequestRow]:
    """Return the rows of a job's requests that have not ended, oldest first."""
    sql = "SELECT * FROM {requests} WHERE job_id = ? AND status = 'pending' ORDER BY created_at"
    return list(map(RequestRow.from_row, database.rows(sql, (job_id,))))


def pending_attempt_ids(database: Database, job_id: str) -> list[str]:
    """Return the ids of a job's HTTP attempts that have not ended."""
    rows = database.query("SELECT id FROM {network_calls} WHERE job_id = ? AND status = 'pending'", (job_id,))
    return [row["id"] for row in rows]


#: Rows of llmctl's own whose job has ended, or is gone: nothing will finish them.
_ABANDONED_REQUESTS = """
SELECT r.* FROM {requests} r LEFT JOIN {jobs} j ON j.id = r.job_id
WHERE r.status = 'pending' AND j.status IS NOT 'running' ORDER BY r.created_at
"""
_ABANDONED_ATTEMPTS = """
SELECT n.id FROM {network_calls} n LEFT JOIN {jobs} j ON j.id = n.job_id
WHERE n.status = 'pending' AND j.status IS NOT 'running'
"""


def list_abandoned(database: Database) -> list[RequestRow]:
    """Return the rows of requests that have not ended although their job has."""
    return list(map(RequestRow.from_row, database.rows(_ABANDONED_REQUESTS)))


def abandoned_attempt_ids(database: Database) -> list[str]:
    """Return the ids of HTTP attempts that have not ended although their job has."""
    return [row["id"] for row in database.query(_ABANDONED_ATTEMPTS)]


#: Answers that may be used again: complete, by llmctl itself, and no use of another one.
_CACHED = """
SELECT * FROM {requests}
WHERE cache_key = ? AND status = 'completed' AND cached_from IS NULL AND origin = 'llmctl'
  AND (finish_reason IN ('stop', 'tool_calls', 'length') OR type <> 'chat')
ORDER BY created_at DESC, rowid DESC LIMIT 2
"""
_UNFINISHED_CACHED = """
SELECT * FROM {requests}
WHERE cache_key = ? AND status <> 'completed' AND cached_from IS NULL AND origin = 'llmctl'
ORDER BY created_at DESC LIMIT 20
"""


_CACHE_TOTALS = """
SELECT a.*, h.* FROM (
  SELECT count(*) AS answers, min(created_at) AS oldest_at, max(created_at) AS newest_at FROM {requests}
  WHERE cache_key IS NOT NULL AND status = 'completed'
) a, (SELECT count(*) AS hits, sum(saved_cost) AS saved_cost FROM {requests} WHERE cached_from IS NOT NULL) h
"""
_SIMILAR = """
SELECT r.* FROM (
  SELECT id FROM {requests}
  WHERE type = :type AND model = :model AND cached_from IS NULL AND created_at <= :created_at AND id <> :id
  ORDER BY created_at DESC LIMIT :limit
) n JOIN {requests} r ON r.id = n.id
ORDER BY r.cache_key IS :cache_key AND r.cache_key IS NOT NULL DESC, r.created_at DESC
"""
_FORGET_CACHED = """
UPDATE {requests} SET cache_key = NULL WHERE cache_key IS NOT NULL AND (:before IS NULL OR created_at < :before)
"""


def list_cached(database: Database, key: str) -> list[RequestRow]:
    """Return the newest completed requests with this key of the cache."""
    return list(map(RequestRow.from_row, database.rows(_CACHED, (key,))))


def list_unfinished_cached(database: Database, key: str) -> list[RequestRow]:
    """Return the newest requests with this key of the cache that run, or failed."""
    return list(map(RequestRow.from_row, database.rows(_UNFINISHED_CACHED, (key,))))


def get_cache_totals(database: Database) -> Row:
    """Return how many answers may be used again and since when, how often that happened, and what it saved."""
    row = database.one(_CACHE_TOTALS)
    assert row is not None
    return row


def list_similar(database: Database, request: RequestRow, limit: int) -> list[RequestRow]:
    """Return earlier requests to the same model, newest first; those with the same key of the cache come first."""
    rows = database.rows(_SIMILAR, request.to_dict() | {"limit": limit})
    return list(map(RequestRow.from_row, rows))


def forget_cached(database: Database, before: str | None) -> int:
    """Let no answer of requests before that time (None: of any) be used again; return how many those were."""
    with database.transaction():
        return database.execute(_FORGET_CACHED, {"before": before})


def find_endpoint(database: Database, request_id: str) -> str | None:
    """Return the URL of a request's first HTTP attempt, or None if it was never sent."""
    sql = "SELECT endpoint FROM {network_calls} WHERE request_id = ? ORDER BY attempt LIMIT 1"
    endpoint: str | None = database.value(sql, (request_id,))
    return endpoint


def list_attempts(database: Database, request_id: str) -> list[Row]:
    """Return the HTTP attempts of a request, as records."""
    shape = Serializer(database, "network_calls")
    rows = database.rows("SELECT * FROM {network_calls} WHERE request_id = ? ORDER BY attempt, rowid", (request_id,))
    return [shape.to_record(_restore_body(database, row)) for row in rows]


def _restore_body(database: Database, row: Row) -> Row:
    """Return a row of ``network_calls`` with its whole body."""
    id = row.pop("shared_body_id", None)
    if id is not None:
        shared = database.value("SELECT gunzip(coalesce(text_gz, text)) FROM {bodies} WHERE id = ?", (id,))
        row["body"] = compact.whole_body(row["body"], shared)
    return row


def append_chunk(database: Database, stream_id: str, seq: int, elapsed_ms: int, data: bytes) -> None:
    """Commit one chunk. Plain SQL: this is the one write that happens thousands of times per turn."""
    with database.transaction():
        database.execute(_APPEND, (stream_id, seq, elapsed_ms, data))


def stream_bytes(database: Database, stream: Row) -> bytes:
    """Return all bytes of a stream (a row of ``response_streams``) received so far."""
    if stream["raw_output"] is not None:
        return str(stream["raw_output"]).encode()
    rows = database.rows("SELECT data FROM {stream_chunks} WHERE stream_id = ? ORDER BY seq", (stream["id"],))
    return b"".join(row["data"] for row in rows)


def chunk_timeline(database: Database, stream_id: str) -> list[list[int]]:
    """Return ``[[offset in bytes, milliseconds], ...]`` of a stream that is still running."""
    result: list[list[int]] = []
    offset = 0
    for row in database.rows(
        "SELECT elapsed, length(data) AS size FROM {stream_chunks} WHERE stream_id = ? ORDER BY seq", (stream_id,)
    ):
        result.append([offset, row["elapsed"]])
        offset += row["size"]
    return result


def find_request_stream(database: Database, request_id: str) -> Row | None:
    """Return the stream of a request, or None if it never began or was not stored."""
    row = database.one("SELECT * FROM {response_streams} WHERE request_id = ? ORDER BY rowid DESC", (request_id,))
    return compact.restore_stream(row) if row else None


def find_message_stream(database: Database, message_id: str) -> Row | None:
    """Return the stream that a message was read from, or None."""
    row = database.one("SELECT * FROM {response_streams} WHERE message_id = ? ORDER BY rowid DESC", (message_id,))
    return compact.restore_stream(row) if row else None


def read_stream(database: Database, stream: Row) -> tuple[bytes, list[list[int]]]:
    """Return the bytes of a stream, finished or not, and their arrival times: ``[[offset, milliseconds], ...]``."""
    if stream["raw_output"] is not None:
        return stream_bytes(database, stream), stream["timeline"]
    return stream_bytes(database, stream), chunk_timeline(database, stream["id"])


# --- cost limits


# Periods begin with an hour, so the roll-up covers them. Few rows have reserved costs, and they are indexed.
_SPENDING = """
SELECT
  (SELECT coalesce(sum(max(cost, 0)), 0) FROM {usage_hourly} WHERE hour >= :since) AS spent,
  (SELECT coalesce(sum(reserved_cost), 0) FROM {requests} WHERE reserved_cost > 0 AND created_at >= :since)
  + (
    SELECT coalesce(sum(max(json_extract(counts, '$.reserved_cost'), 0)), 0) FROM {provider_batches}
    WHERE status IN ('submitting', 'running', 'cancelling') AND created_at >= :since
  ) AS set_aside
"""
_RESERVING_JOBS = """
SELECT DISTINCT j.* FROM {requests} r JOIN {jobs} j ON j.id = r.job_id
WHERE r.reserved_cost > 0 AND r.status = 'pending' AND j.status = 'running'
"""


#: Of the latest 200 answers among the latest requests.
_AVERAGE_USAGE = """
SELECT avg(output_tokens) AS output_tokens, avg(duration) AS duration FROM (
  SELECT output_tokens, duration FROM (SELECT * FROM {requests} ORDER BY created_at DESC LIMIT 10000)
  WHERE provider = :provider AND model = :model AND status = 'completed' AND duration > 0 AND output_tokens > 0
  LIMIT 200
)
"""


def get_spending(database: Database, since: str) -> tuple[float, float]:
    """Return the costs spent and the costs reserved since the beginning of a UTC hour."""
    row = database.one(_SPENDING, {"since": since})
    assert row is not None
    return row["spent"], row["set_aside"]


def get_chat_usage(database: Database, chat_id: str) -> tuple[int, float | None]:
    """Return the tokens of a chat's last answered request, input and output, and the cost of all of them."""
    row = database.one(
        "SELECT (SELECT coalesce(input_tokens, 0) + coalesce(output_tokens, 0) FROM {requests} WHERE chat_id = :chat"
        " AND status = 'completed' ORDER BY created_at DESC LIMIT 1) AS tokens,"
        " (SELECT sum(cost) FROM {requests} WHERE chat_id = :chat) AS cost",
        {"chat": chat_id},
    )
    return (row["tokens"] or 0, row["cost"]) if row else (0, None)


class UsualUsage(Value):
    """The mean of a model's latest answers."""

    output_tokens: float
    duration_ms: float


def average_usage(database: Database, provider: str, model: str) -> UsualUsage | None:
    """Return the mean usage of the latest answers of a model; None if there are none."""
    row = database.one(_AVERAGE_USAGE, {"provider": provider, "model": model})
    if row is None or row["output_tokens"] is None or row["duration"] is None:
        return None
    return UsualUsage(row["output_tokens"], row["duration"])


def list_reserving_jobs(database: Database) -> list[JobRow]:
    """Return the running jobs with requests that have reserved costs."""
    return list(map(JobRow.from_row, database.query(_RESERVING_JOBS)))
