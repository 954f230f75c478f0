"""Threads: their messages in order, and the lock that one job at a time holds."""

from __future__ import annotations

from llmctl.store.database import Database, Row


def of_chat(database: Database, chat_id: str) -> Row | None:
    """Return the thread of a chat, or None (another program made the chat and has said nothing yet)."""
    return database.one("SELECT * FROM {message_threads} WHERE chat_id = ? ORDER BY rowid LIMIT 1", (chat_id,))


def messages(database: Database, thread_id: str, *, upto_seq: int | None = None) -> list[Row]:
    """Return all rows of a thread in order."""
    return database.query(
        "SELECT * FROM {messages} WHERE thread_id = :thread AND (:upto IS NULL OR seq <= :upto) ORDER BY seq",
        {"thread": thread_id, "upto": upto_seq},
    )


def attachments(database: Database, thread_id: str) -> dict[str, list[Row]]:
    """Return message id -> its files in order, for a whole thread."""
    found: dict[str, list[Row]] = {}
    for row in database.rows(
        "SELECT ma.message_id, a.id, a.content, a.url, a.size, coalesce(ma.name, a.name) AS name,"
        " coalesce(ma.media_type, a.media_type) AS media_type FROM {messages} m"
        " JOIN {message_attachments} ma ON ma.message_id = m.id JOIN {attachments} a ON a.id = ma.attachment_id"
        " WHERE m.thread_id = ? ORDER BY m.seq, ma.position",
        (thread_id,),
    ):
        found.setdefault(row.pop("message_id"), []).append(row)
    return found


def last(database: Database, thread_id: str) -> Row | None:
    """Return the newest row of a thread."""
    return database.one("SELECT * FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1", (thread_id,))


def newest_time(database: Database, thread_id: str, chat_id: str) -> str:
    """Return the latest time of a message of the thread or its chat (empty for none): the next one is later."""
    found: str | None = database.value(
        "SELECT max(created_at) FROM ("
        " SELECT * FROM (SELECT created_at FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1)"
        " UNION ALL SELECT max(created_at) FROM {messages} WHERE chat_id = ?)",
        (thread_id, chat_id),
    )
    return found or ""


def holder(database: Database, thread_id: str) -> Row | None:
    """Return the job that holds the thread's lock, dead or alive, or None."""
    return database.one(
        "SELECT j.* FROM {message_threads} t JOIN {jobs} j ON j.id = t.locking_job_id WHERE t.id = ?", (thread_id,)
    )


def unanswered_tokens(database: Database, thread_id: str) -> tuple[int, int]:
    """Return the tokens in and out of the requests since the user last spoke: those of a turn that is gone on with."""
    row = database.one(
        "SELECT coalesce(sum(r.input_tokens), 0) AS tokens_in, coalesce(sum(r.output_tokens), 0) AS tokens_out"
        " FROM {messages} m JOIN {requests} r ON r.message_id = m.id WHERE m.thread_id = :thread AND m.seq >"
        " coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = :thread AND role = 'user'"
        " AND chat_id IS NOT NULL), 0)",
        {"thread": thread_id},
    )
    return (row["tokens_in"], row["tokens_out"]) if row else (0, 0)
