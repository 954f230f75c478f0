"""The ledger: requests, their HTTP attempts. Written by the recorder, read here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape

STATUSES = ("pending", "completed", "failed", "incomplete", "interrupted")

_LIST = """
SELECT r.*, c.name AS chat,
  (SELECT count(*) FROM {{network_calls}} n WHERE n.request_id = r.id) AS attempts
FROM (SELECT * FROM {{requests}} WHERE {where} ORDER BY created_at DESC, rowid DESC LIMIT :limit) r
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


class Filter(NamedTuple):
    """Which requests: all that is set must hold."""

    chat_id: str | None = None
    status: str | None = None
    model: str | None = None
    provider: str | None = None
    since: str | None = None


def listed(database: Database, wanted: Filter, limit: int | None) -> Iterator[Row]:
    """Yield requests as records, newest first, with the chat's name and the number of attempts."""
    values = {name: getattr(wanted, name) for name in _CONDITIONS}
    where = " AND ".join(text for name, text in _CONDITIONS.items() if values[name] is not None)
    shape = Shape(database, "requests")
    rows = database.rows(_LIST.format(where=where or "true"), values | {"limit": -1 if limit is None else limit})
    return (shape.record(row) for row in rows)


def get(database: Database, ref: str) -> Row:
    """Return the row of the request that a REF means."""
    return refs.get(database, "requests", ref, kind="request")


def of_message(database: Database, message_id: str) -> list[Row]:
    """Return the requests that a message came from, as records."""
    shape = Shape(database, "requests")
    rows = database.rows("SELECT * FROM {requests} WHERE message_id = ? ORDER BY created_at", (message_id,))
    return [shape.record(row) for row in rows]


def network_calls(database: Database, request_id: str) -> list[Row]:
    """Return the HTTP attempts of a request, as records."""
    shape = Shape(database, "network_calls")
    rows = database.rows("SELECT * FROM {network_calls} WHERE request_id = ? ORDER BY attempt, rowid", (request_id,))
    return [shape.record(row) for row in rows]
