"""Threads to look at: whose they are, how long, who holds them."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape

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
_ONE = f"SELECT {_COLUMNS} FROM {{message_threads}} t {_JOINS} WHERE t.id = ?"


def listed(database: Database, limit: int | None, *, locked: bool = False) -> Iterator[Row]:
    """Yield threads as records, newest first; ``locked`` ones only, if asked for."""
    shape = Shape(database, "message_threads")
    rows = database.rows(_LOCKED if locked else _LIST, {"limit": -1 if limit is None else limit})
    return (shape.record(row) for row in rows)


def get(database: Database, ref: str) -> Row:
    """Return the thread that a REF means, as a record."""
    id = refs.get(database, "message_threads", ref, kind="thread")["id"]
    row = database.one(_ONE, (id,))
    assert row is not None
    return Shape(database, "message_threads").record(row)
