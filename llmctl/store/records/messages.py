"""Messages: entries of threads, with the tool calls and files that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmctl.core.errors import NotFoundError
from llmctl.core.stored_json import loads
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape, arguments, decoded

_FILES = """
SELECT ma.message_id, a.id, a.name, a.media_type, a.size, a.url, a.content_hash
FROM {messages} m
JOIN {message_attachments} ma ON ma.message_id = m.id
JOIN {attachments} a ON a.id = ma.attachment_id
WHERE m.thread_id = ? ORDER BY m.seq, ma.position
"""
_LINKS = """
SELECT ma.* FROM {messages} m JOIN {message_attachments} ma ON ma.message_id = m.id
WHERE m.thread_id = ? ORDER BY m.seq, ma.position
"""
_INVOCATIONS = """
SELECT i.* FROM {messages} m JOIN {tool_invocations} i ON i.message_id = m.id
WHERE m.thread_id = ? ORDER BY m.seq, i.rowid
"""
_NEWEST = """
SELECT m.*, t.chat_id AS in_chat, c.name AS chat FROM {messages} m
LEFT JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = coalesce(t.chat_id, m.chat_id)
ORDER BY m.created_at DESC, m.rowid DESC LIMIT ?
"""
_OF_THREAD = """
SELECT m.*, t.chat_id AS in_chat, c.name AS chat FROM {messages} m
JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = t.chat_id
WHERE m.thread_id = ? ORDER BY m.seq DESC LIMIT ?
"""


def get(database: Database, ref: str) -> Row:
    """Return the message that a REF means."""
    return refs.get(database, "messages", ref, kind="message")


def listed(database: Database, thread_id: str | None, limit: int | None) -> Iterator[Row]:
    """Yield messages as records, newest first; steps and tool results too."""
    most = -1 if limit is None else limit
    rows = database.rows(_OF_THREAD, (thread_id, most)) if thread_id else database.rows(_NEWEST, (most,))
    shape = Shape(database, "messages")
    return (record(shape, row) for row in rows)


def conversation(database: Database, thread_id: str, *, steps: bool = False) -> list[Row]:
    """Return a thread as records in order, with ``tool_calls`` and ``attachments``.

    Without ``steps`` it is what people see: the calls of a turn stand with the answer that ends it. What is still
    being written has the status ``pending`` and no content: see :mod:`llmctl.engine.inspect.reparse`.
    """
    rows = database.query("SELECT * FROM {messages} WHERE thread_id = ? ORDER BY seq", (thread_id,))
    files = _grouped(database.rows(_FILES, (thread_id,)))
    calls = _calls(database, thread_id, rows)
    shape = Shape(database, "messages")
    found: list[Row] = []
    waiting: list[Row] = []
    for row in rows:
        seen = steps or row["chat_id"] is not None or row["status"] == "pending"
        waiting += calls.get(row["id"], [])
        if row["role"] == "user" and not steps:
            waiting = []
        if seen:
            seen_row = record(shape, row)
            seen_row["tool_calls"], seen_row["attachments"] = waiting, files.get(row["id"], [])
            found.append(seen_row)
            waiting = []
    return found


def find(database: Database, id: str | None) -> Row | None:
    """Return the message of that id, or None."""
    return database.one("SELECT * FROM {messages} WHERE id = ?", (id,))


def links(database: Database, thread_id: str) -> dict[str, list[Row]]:
    """Return message id -> the rows that link it to its files, for a whole thread."""
    return _grouped(database.rows(_LINKS, (thread_id,)), keep=True)


def invocations(database: Database, thread_id: str) -> dict[str, list[Row]]:
    """Return message id -> the runs of tools it asked for, for a whole thread."""
    return _grouped(database.rows(_INVOCATIONS, (thread_id,)), keep=True)


def record(shape: Shape, row: Row) -> Row:
    """Return a row of ``messages`` as a record; its parts as JSON."""
    found = shape.record(row)
    found["content_raw"] = decoded(row["content_raw"])
    return found


def one(database: Database, ref: str) -> Row:
    """Return a message as a record, with its calls and files."""
    row = get(database, ref)
    calls = _calls(database, row["thread_id"], [row]) if row["thread_id"] else {}
    files = _grouped(database.rows(_FILES, (row["thread_id"],)))
    extra = {"tool_calls": calls.get(row["id"], []), "attachments": files.get(row["id"], [])}
    return record(Shape(database, "messages"), row) | extra


def at(database: Database, thread_id: str, point: str) -> Row:
    """Return the message of a thread that a place (``12``) or a REF names."""
    if point.isdecimal() and len(point) < refs.SHORTEST_PREFIX + 3:
        sql = "SELECT * FROM {messages} WHERE thread_id = ? AND seq = ?"
        row = database.one(sql, (thread_id, int(point)))
        if row is not None:
            return row
        if len(point) < refs.SHORTEST_PREFIX:
            last = database.value("SELECT max(seq) FROM {messages} WHERE thread_id = ?", (thread_id,))
            raise NotFoundError(f'no message at place "{point}"', hint=f"the last one is {last or 0}")
    row = get(database, point)
    if row["thread_id"] != thread_id:
        raise NotFoundError(f'the message "{point}" belongs to another conversation')
    return row


def _calls(database: Database, thread_id: str, rows: list[Row]) -> dict[str, list[Row]]:
    """Return message id -> the calls it makes: its invocations, and calls in its parts that nobody ran."""
    found = {id: [_invoked(row) for row in runs] for id, runs in invocations(database, thread_id).items()}
    results = {
        part.get("call_id"): part.get("content")
        for row in rows
        if row["role"] == "tool"
        for part in _parts(row, "tool_result")
    }
    for row in rows:
        known = {call["id"] for call in found.get(row["id"], [])}
        for part in _parts(row, "tool_call"):
            if part.get("id") not in known:
                found.setdefault(row["id"], []).append(_unrun(part, results.get(part.get("id"))))
    return found


def _invoked(row: Row) -> Row:
    return {
        "id": row["provider_call_id"] or row["tool_call_id"],
        "name": row["name"],
        "arguments": arguments(row["arguments"]),
        "result": row["result"],
        "status": row["status"],
        "error": row["error"],
        "duration_ms": row["duration"],
        "invocation_id": row["id"],
    }


def _unrun(part: Row, result: Any) -> Row:
    return {
        "id": part.get("id"),
        "name": part.get("name"),
        "arguments": arguments(part.get("arguments")),
        "result": result,
        "status": "pending" if result is None else "completed",
        "error": None,
        "duration_ms": None,
        "invocation_id": None,
    }


def _parts(row: Row, kind: str) -> list[Row]:
    if not row["content_raw"] or row["origin"] == "orm":
        return []
    parts = loads(row["content_raw"])
    return [part for part in parts if part.get("type") == kind] if isinstance(parts, list) else []


def _grouped(rows: Iterator[Row], *, keep: bool = False) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["message_id"] if keep else row.pop("message_id"), []).append(row)
    return found
