"""The message_threads table: threads, their messages in order, and the lock that one job at a time holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records.types import JobRow, MessageRow, ThreadRow
from llmctl.store.serialize import Serializer

_ATTACHED_FILES = """
SELECT ma.message_id, a.content, a.url, coalesce(ma.name, a.name) AS name,
  coalesce(ma.media_type, a.media_type) AS media_type
FROM {messages} m
JOIN {message_attachments} ma ON ma.message_id = m.id JOIN {attachments} a ON a.id = ma.attachment_id
WHERE m.thread_id = ? ORDER BY m.seq, ma.position
"""


class AttachedFile(NamedTuple):
    """An attachment under the name and type it has in a message."""

    content: bytes | None
    url: str | None
    name: str | None
    media_type: str


def find_for_chat(database: Database, chat_id: str) -> ThreadRow | None:
    """Return the thread of a chat, or None: another program created the chat and has added no message yet."""
    return ThreadRow.find_row(
        database.one("SELECT * FROM {message_threads} WHERE chat_id = ? ORDER BY rowid LIMIT 1", (chat_id,))
    )


def list_messages(database: Database, thread_id: str, *, upto_seq: int | None = None) -> list[MessageRow]:
    """Return all messages of a thread in order."""
    return list(
        map(
            MessageRow.from_row,
            database.query(
                "SELECT * FROM {messages} WHERE thread_id = :thread AND (:upto IS NULL OR seq <= :upto) ORDER BY seq",
                {"thread": thread_id, "upto": upto_seq},
            ),
        )
    )


def list_message_columns(database: Database, thread_id: str) -> dict[str, Row]:
    """Return message id -> all its columns, custom ones included, for a whole thread."""
    rows = database.rows("SELECT * FROM {messages} WHERE thread_id = ?", (thread_id,))
    return {row["id"]: row for row in rows}


def attachments_by_message(database: Database, thread_id: str) -> dict[str, list[AttachedFile]]:
    """Return message id -> its attachments in order, for a whole thread."""
    result: dict[str, list[AttachedFile]] = {}
    for row in database.rows(_ATTACHED_FILES, (thread_id,)):
        result.setdefault(row.pop("message_id"), []).append(AttachedFile(**row))
    return result


def find_last_message(database: Database, thread_id: str) -> MessageRow | None:
    """Return the last message of a thread, or None."""
    return MessageRow.find_row(
        database.one("SELECT * FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1", (thread_id,))
    )


def last_message_time(database: Database, thread_id: str, chat_id: str) -> str:
    """Return the time of the latest message of the thread or its chat, or an empty string."""
    value: str | None = database.value(
        "SELECT max(created_at) FROM ("
        " SELECT * FROM (SELECT created_at FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1)"
        " UNION ALL SELECT max(created_at) FROM {messages} WHERE chat_id = ?)",
        (thread_id, chat_id),
    )
    return value or ""


def locked_thread_ids(database: Database, job_id: str) -> list[str]:
    """Return the ids of the threads that a job has locked."""
    return [row["id"] for row in database.query("SELECT id FROM {message_threads} WHERE locking_job_id = ?", (job_id,))]


def find_locking_job(database: Database, thread_id: str) -> JobRow | None:
    """Return the job that holds the thread's lock, dead or alive, or None."""
    return JobRow.find_row(
        database.one(
            "SELECT j.* FROM {message_threads} t JOIN {jobs} j ON j.id = t.locking_job_id WHERE t.id = ?", (thread_id,)
        )
    )


def tokens_since_last_prompt(database: Database, thread_id: str) -> tuple[int, int]:
    """Return input and output tokens of the requests since the last user message: those of a resumed turn."""
    row = database.one(
        "SELECT coalesce(sum(r.input_tokens), 0) AS tokens_in, coalesce(sum(r.output_tokens), 0) AS tokens_out"
        " FROM {messages} m JOIN {requests} r ON r.message_id = m.id WHERE m.thread_id = :thread AND m.seq >"
        " coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = :thread AND role = 'user'"
        " AND chat_id IS NOT NULL), 0)",
        {"thread": thread_id},
    )
    return (row["tokens_in"], row["tokens_out"]) if row else (0, 0)


_COLUMNS = """
  t.*, c.name AS chat, j.status AS lock_status,
  (SELECT count(*) FROM {messages} m WHERE m.thread_id = t.id) AS message_count,
  (SELECT max(m.seq) FROM {messages} m WHERE m.thread_id = t.id) AS last_seq
"""
_JOINS = "LEFT JOIN {chats} c ON c.id = t.chat_id LEFT JOIN {jobs} j ON j.id = t.locking_job_id"
_LIST = (
    f"SELECT {_COLUMNS} FROM (SELECT rowid AS place FROM {{message_threads}} ORDER BY rowid DESC LIMIT :limit) n"
    f" CROSS JOIN {{message_threads}} t ON t.rowid = n.place {_JOINS} ORDER BY n.place DESC"
)
_LOCKED = (
    f"SELECT {_COLUMNS} FROM {{message_threads}} t {_JOINS}"
    " WHERE t.locking_job_id IS NOT NULL ORDER BY t.rowid DESC LIMIT :limit"
)
_GET = f"SELECT {_COLUMNS} FROM {{message_threads}} t {_JOINS} WHERE t.id = ?"


def list_(database: Database, limit: int | None, *, locked: bool = False) -> Iterator[Row]:
    """Yield threads as records, newest first; with ``locked`` only those that are locked."""
    shape = Serializer(database, "message_threads")
    rows = database.rows(_LOCKED if locked else _LIST, {"limit": -1 if limit is None else limit})
    return (shape.to_record(row) for row in rows)


def get_record(database: Database, ref: str) -> Row:
    """Return the thread a REF refers to, as a record."""
    id = refs.get(database, "message_threads", ref, kind="thread")["id"]
    row = database.one(_GET, (id,))
    assert row is not None
    return Serializer(database, "message_threads").to_record(row)
