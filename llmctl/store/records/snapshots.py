"""Snapshots: a thread as it was shown at a point in time (the seed's RenderedConversationThread)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Serializer
from llmctl.store.writes import Insert


def add(
    database: Database, thread_id: str, messages: Sequence[Mapping[str, str]], *, upto_seq: int, reason: str | None
) -> Row:
    """Add a snapshot of messages (``type`` and ``content``); return the record."""
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
    return by_id(database, str(row["id"]))


def by_id(database: Database, id: str) -> Row:
    """Return the snapshot with that id as a record."""
    row = database.one("SELECT * FROM {rendered_conversation_threads} WHERE id = ?", (id,))
    assert row is not None
    return Serializer(database, "rendered_conversation_threads").to_record(row)


def get(database: Database, ref: str, thread_id: str) -> Row:
    """Return the snapshot of a thread that a REF refers to, as a record."""
    row = refs.get(database, "rendered_conversation_threads", ref, kind="snapshot")
    if row["thread_id"] != thread_id:
        raise NotFoundError(f'snapshot "{ref}" belongs to another chat', hint="see: llmctl chats render REF --list")
    return Serializer(database, "rendered_conversation_threads").to_record(row)


def list_for_thread(database: Database, thread_id: str) -> list[Row]:
    """Return the snapshots of a thread as records, oldest first."""
    shape = Serializer(database, "rendered_conversation_threads")
    sql = "SELECT * FROM {rendered_conversation_threads} WHERE thread_id = ? ORDER BY created_at"
    return [shape.to_record(row) for row in database.rows(sql, (thread_id,))]
