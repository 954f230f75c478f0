"""The bytes of running streams: appended as they are read, joined when the stream is finished."""

from __future__ import annotations

from llmctl.store.database import Database, Row

_APPEND = "INSERT INTO {stream_chunks} (stream_id, seq, elapsed, data) VALUES (?, ?, ?, ?)"


def append(database: Database, stream_id: str, seq: int, elapsed_ms: int, data: bytes) -> None:
    """Commit one piece. Plain SQL: this is the one write that happens thousands of times a turn."""
    with database.transaction():
        database.execute(_APPEND, (stream_id, seq, elapsed_ms, data))


def raw(database: Database, stream: Row) -> bytes:
    """Return everything a stream (a row of ``response_streams``) brought so far."""
    if stream["raw_output"] is not None:
        return str(stream["raw_output"]).encode()
    rows = database.rows("SELECT data FROM {stream_chunks} WHERE stream_id = ? ORDER BY seq", (stream["id"],))
    return b"".join(row["data"] for row in rows)


def timeline(database: Database, stream_id: str) -> list[list[int]]:
    """Return ``[[offset in bytes, milliseconds], ...]`` of a stream that is not finished."""
    found: list[list[int]] = []
    offset = 0
    for row in database.rows(
        "SELECT elapsed, length(data) AS size FROM {stream_chunks} WHERE stream_id = ? ORDER BY seq", (stream_id,)
    ):
        found.append([offset, row["elapsed"]])
        offset += row["size"]
    return found
