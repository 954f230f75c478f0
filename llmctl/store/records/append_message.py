"""A message at the end of a chat's thread, written by nobody's turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import Database, Row
from llmctl.store.records import threads
from llmctl.store.writes import Insert, Update

_TYPES = {"assistant": "chatModel"}


def append(
    database: Database, chat: Row, thread: Row | None, columns: Mapping[str, Any], references: Mapping[str, str]
) -> str:
    """Add a message (``role``, ``content`` ...) that users see; return its id. The caller has the thread for itself."""
    now = clock.now()
    thread_id = thread["id"] if thread is not None else new_id()
    if thread is None:
        row = {"id": thread_id, "chat_id": chat["id"], "created_at": now, "updated_at": now}
        database.commit(Insert("message_threads", row))
    last, newest = threads.last(database, thread_id), threads.newest_time(database, thread_id, chat["id"])
    at = max(now, clock.later(newest, 0.001)) if newest else now
    message = {
        "id": new_id(),
        "refs": dumps(dict(references)),
        "thread_id": thread_id,
        "seq": (last["seq"] if last else 0) + 1,
        "chat_id": chat["id"],
        "type": _TYPES.get(columns["role"], columns["role"]),
        "source_id": chat["source_id"] if columns["role"] == "assistant" else None,
        "status": "completed",
        "origin": "llmctl",
        "created_at": at,
        "updated_at": at,
        **columns,
    }
    changes = {"instructions": columns["content"]} if columns["role"] == "system" else {}
    database.commit(Insert("messages", message), Update("chats", chat["id"], {**changes, "updated_at": now}))
    return str(message["id"])
