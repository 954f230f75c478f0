"""What models sent, as it came: streams of requests and of messages. Written by the recorder, read here."""

from __future__ import annotations

from llmctl.store.database import Database, Row
from llmctl.store.records import chunks


def of_request(database: Database, request_id: str) -> Row | None:
    """Return the stream of a request, or None (it never began, or was not kept)."""
    return database.one("SELECT * FROM {response_streams} WHERE request_id = ? ORDER BY rowid DESC", (request_id,))


def of_message(database: Database, message_id: str) -> Row | None:
    """Return the stream that a message came in, or None."""
    return database.one("SELECT * FROM {response_streams} WHERE message_id = ? ORDER BY rowid DESC", (message_id,))


def received(database: Database, stream: Row) -> tuple[bytes, list[list[int]]]:
    """Return the bytes of a stream, finished or not, and when they came: ``[[offset, milliseconds], ...]``."""
    if stream["raw_output"] is not None:
        return chunks.raw(database, stream), stream["timeline"]
    return chunks.raw(database, stream), chunks.timeline(database, stream["id"])
