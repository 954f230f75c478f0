"""Snapshots: a thread as it was shown at a point in time (the seed's RenderedConversationThread)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Insert


def keep(
    database: Database, thread_id: str, messages: Sequence[Mapping[str, str]], *, upto_seq: int, reason: str | None
) -> Row:
    """Keep messages (``type`` and ``content``) as they were shown; return the record."""
    now = clock.now()
    row = {
        "id": new_id(),
        "thread_id": thread_id,
        "upto_seq": upto_seq,
        "reason": reason,
        "messages": dumps(list(messages)),
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("rendered_conversation_threads", row), durable=True)
    return of_id(database, str(row["id"]))


def of_id(database: Database, id: str) -> Row:
    """Return the snapshot of that id as a record."""
    row = database.one("SELECT * FROM {rendered_conversation_threads} WHERE id = ?", (id,))
    assert row is not None
    return Shape(database, "rendered_conversation_threads").record(row)


def get(database: Database, ref: str, thread_id: str) -> Row:
    """Return the snapshot of a thread that a REF means, as a record."""
    row = refs.get(database, "rendered_conversation_threads", ref, kind="snapshot")
    if row["thread_id"] != thread_id:
        raise NotFoundError(f'the snapshot "{ref}" is of another chat', hint="see: llmctl chats render REF --list")
    return Shape(database, "rendered_conversation_threads").record(row)


def of_thread(database: Database, thread_id: str) -> list[Row]:
    """Return the snapshots of a thread as records, oldest first."""
    shape = Shape(database, "rendered_conversation_threads")
    sql = "SELECT * FROM {rendered_conversation_threads} WHERE thread_id = ? ORDER BY created_at"
    return [shape.record(row) for row in database.rows(sql, (thread_id,))]
