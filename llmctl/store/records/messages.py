"""The messages table: messages of threads, with their tool calls and attachments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.stored_values import decode_arguments, dumps, loads, new_id, parse_json_or_text
from llmctl.store import refs
from llmctl.store.database import Database, Insert, Row, Serializer, Update
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow, MessageRow, ThreadRow

_FILES = """
SELECT ma.message_id, a.id, nullif(coalesce(ma.name, a.name), '') AS name,
  coalesce(ma.media_type, a.media_type) AS media_type, a.size, a.url, a.content_hash
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
_TYPES = {"assistant": "chatModel"}


def get(database: Database, ref: str) -> MessageRow:
    """Return the message a REF refers to."""
    return MessageRow.from_row(refs.get(database, "messages", ref, kind="message"))


def list_(database: Database, thread_id: str | None, limit: int | None) -> Iterator[Row]:
    """Yield messages as records, newest first, including steps and tool results."""
    most = -1 if limit is None else limit
    rows = database.rows(_OF_THREAD, (thread_id, most)) if thread_id else database.rows(_NEWEST, (most,))
    shape = Serializer(database, "messages")
    return (to_record(shape, row) for row in rows)


def count(database: Database, thread_id: str | None) -> int:
    """Return the number of messages of :func:`list_`."""
    sql = "SELECT count(*) FROM {messages} WHERE :thread IS NULL OR thread_id = :thread"
    return int(database.value(sql, {"thread": thread_id}))


#: The next message that users see, if it is of another job, is not an answer.
_FAILED_PROMPTS = """
SELECT m.id, coalesce(j.error, j.status) AS error FROM {messages} m JOIN {jobs} j ON j.id = m.job_id
WHERE m.thread_id = ? AND m.role = 'user' AND m.chat_id IS NOT NULL AND j.status IN ('failed', 'cancelled')
  AND coalesce((
    SELECT n.role FROM {messages} n WHERE n.thread_id = m.thread_id AND n.seq > m.seq AND n.chat_id IS NOT NULL
      AND n.role <> 'system' AND NOT (n.role = 'user' AND n.job_id IS m.job_id)
    ORDER BY n.seq LIMIT 1), 'user') = 'user'
"""


def conversation(database: Database, thread_id: str, *, steps: bool = False) -> list[Row]:
    """Return the messages of a thread as records, with ``tool_calls`` and ``attachments``.

    Without ``steps`` these are the messages users see: the answer that ends a turn has the turn's calls. A message
    still being written has the status ``pending`` and no content: see :mod:`llmctl.engine.inspect.transcript`.
    """
    rows = database.query("SELECT * FROM {messages} WHERE thread_id = ? ORDER BY seq", (thread_id,))
    files = _group_by_message(database.rows(_FILES, (thread_id,)))
    calls = _tool_calls(database, thread_id, rows)
    shape = Serializer(database, "messages")
    result: list[Row] = []
    waiting: list[Row] = []
    for row in rows:
        seen = steps or row["chat_id"] is not None or row["status"] == "pending"
        waiting += calls.get(row["id"], [])
        if row["role"] == "user" and not steps:
            waiting = []
        if seen:
            seen_row = to_record(shape, row)
            seen_row["tool_calls"], seen_row["attachments"] = waiting, files.get(row["id"], [])
            result.append(seen_row)
            waiting = []
    errors = _find_failed_prompts(database, thread_id)
    return [row | {"error": row["error"] or errors.get(row["id"])} for row in result]


def _find_failed_prompts(database: Database, thread_id: str) -> dict[str, str]:
    """Return the errors of the turns that gave no answer to a user's message, by its id."""
    return {row["id"]: row["error"] for row in database.query(_FAILED_PROMPTS, (thread_id,))}


def list_prompts(database: Database, before: int | None, limit: int) -> list[tuple[int, str]]:
    """Return key and text of the user messages of all chats, newest first, from those before a key."""
    sql = (
        "SELECT rowid AS key, content FROM {messages} WHERE role = 'user' AND content <> '' AND chat_id IS NOT NULL"
        " AND (:before IS NULL OR rowid < :before) ORDER BY rowid DESC LIMIT :limit"
    )
    return [(row["key"], row["content"]) for row in database.query(sql, {"before": before, "limit": limit})]


def find(database: Database, id: str | None) -> MessageRow | None:
    """Return the message with that id, or None."""
    return MessageRow.find_row(database.one("SELECT * FROM {messages} WHERE id = ?", (id,)))


def find_attachment_content(database: Database, id: str) -> bytes | None:
    """Return the bytes of an attachment; None if there is none, or only its URL is kept."""
    content: bytes | None = database.value("SELECT content FROM {attachments} WHERE id = ?", (id,))
    return content


def attachment_links_by_message(database: Database, thread_id: str) -> dict[str, list[Row]]:
    """Return message id -> its rows of ``message_attachments``, for a whole thread."""
    return _group_by_message(database.rows(_LINKS, (thread_id,)), keep=True)


def invocations_by_message(database: Database, thread_id: str) -> dict[str, list[Row]]:
    """Return message id -> its tool invocations, for a whole thread."""
    return _group_by_message(database.rows(_INVOCATIONS, (thread_id,)), keep=True)


def to_record(shape: Serializer, row: Row) -> Row:
    """Return a row of ``messages`` as a record, with its parts as JSON."""
    result = shape.to_record(row)
    result["content_raw"] = parse_json_or_text(row["content_raw"])
    return result


def get_record(database: Database, ref: str) -> Row:
    """Return a message as a record, with its tool calls and attachments."""
    row = refs.get(database, "messages", ref, kind="message")
    calls = _tool_calls(database, row["thread_id"], [row]) if row["thread_id"] else {}
    files = _group_by_message(database.rows(_FILES, (row["thread_id"],)))
    extra = {"tool_calls": calls.get(row["id"], []), "attachments": files.get(row["id"], [])}
    return to_record(Serializer(database, "messages"), row) | extra


def get_at(database: Database, thread_id: str, point: str) -> MessageRow:
    """Return the message of a thread by its seq (``12``) or by REF."""
    if point.isdecimal() and len(point) < refs.MIN_PREFIX_LENGTH + 3:
        sql = "SELECT * FROM {messages} WHERE thread_id = ? AND seq = ?"
        row = database.one(sql, (thread_id, int(point)))
        if row is not None:
            return MessageRow.from_row(row)
        if len(point) < refs.MIN_PREFIX_LENGTH:
            last = database.value("SELECT max(seq) FROM {messages} WHERE thread_id = ?", (thread_id,))
            raise NotFoundError(f'no message number "{point}"', hint=f"the last message is number {last or 0}")
    message = get(database, point)
    if message.thread_id != thread_id:
        raise NotFoundError(f'message "{point}" belongs to another chat')
    return message


def _tool_calls(database: Database, thread_id: str, rows: list[Row]) -> dict[str, list[Row]]:
    """Return message id -> its tool calls: invocations, and calls in its parts that were never run."""
    result = {
        id: [_call_from_invocation(row) for row in runs]
        for id, runs in invocations_by_message(database, thread_id).items()
    }
    results = {
        part.get("call_id"): part.get("content")
        for row in rows
        if row["role"] == "tool"
        for part in _parts(row, "tool_result")
    }
    for row in rows:
        known = {call["id"] for call in result.get(row["id"], [])}
        for part in _parts(row, "tool_call"):
            if part.get("id") not in known:
                result.setdefault(row["id"], []).append(_call_from_part(part, results.get(part.get("id"))))
    return result


def _call_from_invocation(row: Row) -> Row:
    return {
        "id": row["provider_call_id"] or row["tool_call_id"],
        "name": row["name"],
        "arguments": decode_arguments(row["arguments"]),
        "result": row["result"],
        "status": row["status"],
        "error": row["error"],
        "duration_ms": row["duration"],
        "invocation_id": row["id"],
    }


def _call_from_part(part: Row, result: Any) -> Row:
    return {
        "id": part.get("id"),
        "name": part.get("name"),
        "arguments": decode_arguments(part.get("arguments")),
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


def _group_by_message(rows: Iterator[Row], *, keep: bool = False) -> dict[str, list[Row]]:
    result: dict[str, list[Row]] = {}
    for row in rows:
        result.setdefault(row["message_id"] if keep else row.pop("message_id"), []).append(row)
    return result


def append(
    database: Database,
    chat: ChatRow,
    thread: ThreadRow | None,
    columns: Mapping[str, Any],
    references: Mapping[str, str],
) -> str:
    """Append a message (``role``, ``content`` ...) that users see; return its id.

    The caller holds the thread's lock.
    """
    now = clock.now()
    thread_id = thread.id if thread is not None else new_id()
    if thread is None:
        row = {"id": thread_id, "chat_id": chat.id, "created_at": now, "updated_at": now}
        database.commit(Insert("message_threads", row))
    last, newest = (
        chats.find_last_message(database, thread_id),
        chats.last_message_time(database, thread_id, chat.id),
    )
    at = max(now, clock.add_seconds(newest, 0.001)) if newest else now
    message = {
        "id": new_id(),
        "refs": dumps(dict(references)),
        "thread_id": thread_id,
        "seq": (last.seq or 0 if last else 0) + 1,
        "chat_id": chat.id,
        "type": _TYPES.get(columns["role"], columns["role"]),
        "source_id": chat.source_id if columns["role"] == "assistant" else None,
        "status": "completed",
        "origin": "llmctl",
        "created_at": at,
        "updated_at": at,
        **columns,
    }
    changes = {"instructions": columns["content"]} if columns["role"] == "system" else {}
    database.commit(Insert("messages", message), Update("chats", chat.id, {**changes, "updated_at": now}))
    return str(message["id"])
