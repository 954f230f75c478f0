"""Forks: a new chat that shares a beginning with another one, to go on differently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.ids import new_id
from llmctl.core.messages import ToolResult
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.turn import history
from llmctl.engine.turn.options import Origin
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, messages, threads
from llmctl.store.writes import Insert, Write


def fork(
    database: Database,
    chat: Row,
    *,
    upto_seq: int | None = None,
    name: str | None = None,
    origin: Origin | None = None,
) -> Row:
    """Copy a chat up to a place in its thread (all of it, where none is named); return the new chat.

    Messages, their tool calls and links to their files are copied; requests are not: they were paid once. What is
    still being written stays behind. Raises UsageError between a tool call and its result.
    """
    with database.transaction(durable=True):
        chats.check_name(database, name)
        thread = threads.of_chat(database, chat["id"])
        rows = _rows(database, thread, upto_seq) if thread else []
        now = clock.now()
        chat_id, thread_id = new_id(), new_id()
        new_thread = {
            "id": thread_id,
            "chat_id": chat_id,
            "parent_id": thread["id"] if thread else None,
            "parent_seq": rows[-1]["seq"] if rows else None,
            **_times(now),
        }
        own = _own(database, thread, rows, origin) | {"id": chat_id, "name": name}
        writes: list[Write] = [Insert("chats", _chat(database, chat) | own | _times(now))]
        writes.append(Insert("message_threads", new_thread))
        writes += _copies(database, rows, chat_id, thread_id)
        database.commit(*writes)
    return chats.one(database, chat_id)


def _rows(database: Database, thread: Row, upto_seq: int | None) -> list[Row]:
    finished = [row for row in threads.messages(database, thread["id"]) if row["status"] != "pending"]
    kept = [row for row in finished if upto_seq is None or row["seq"] <= upto_seq]
    left = finished[len(kept) :]
    _refuse_split(kept, left)
    return kept


def _refuse_split(kept: Iterable[Row], left: Iterable[Row]) -> None:
    """Raise where a call would stay and its result would go: no provider takes such a history."""
    called = {call.id: row["seq"] for row in kept for call in history.message_of(row).tool_calls}
    answered = {part.call_id for row in kept for part in _results(row)}
    for row in left:
        for part in _results(row):
            if part.call_id in called and part.call_id not in answered:
                raise UsageError(
                    f'a fork cannot end between the tool call "{part.name}" and its result',
                    hint=f"fork at {called[part.call_id] - 1}, or at {row['seq']} or later",
                )


def _results(row: Row) -> list[ToolResult]:
    return [part for part in history.message_of(row).parts if isinstance(part, ToolResult)]


def _chat(database: Database, chat: Row) -> dict[str, Any]:
    """Return what the new chat has from the old one: columns of the user's own too."""
    refs = dumps({**loads(chat["refs"], {}), "forked_from": chat["id"]})
    return {column: chat[column] for column in chats.columns(database)} | {"refs": refs, "origin": "llmctl"}


def _own(database: Database, thread: Row | None, rows: list[Row], origin: Origin | None) -> dict[str, Any]:
    """Return what the new chat does not have from the old one: the system prompt of its place, its last turn.

    It counts as talked to now and here, so that `chat --continue` goes on with it.
    """
    changes: dict[str, Any] = {"last_turn_at": clock.now()}
    if origin:
        changes |= {"last_turn_folder": origin.folder, "last_turn_terminal": int(origin.terminal)}
    system = [row["content"] for row in rows if row["role"] == "system" and row["content"]]
    if system or (thread and any(row["role"] == "system" for row in threads.messages(database, thread["id"]))):
        changes["instructions"] = system[-1] if system else None
    return changes


def _times(now: str) -> dict[str, str]:
    return {"created_at": now, "updated_at": now}


def _copies(database: Database, rows: list[Row], chat_id: str, thread_id: str) -> list[Write]:
    """Return the messages once more, with their tool calls and files; their own times and places stay."""
    if not rows:
        return []
    links = messages.links(database, rows[0]["thread_id"])
    calls = messages.invocations(database, rows[0]["thread_id"])
    ids = {call["id"]: new_id() for of_message in calls.values() for call in of_message}
    writes: list[Write] = []
    for row in rows:
        id = new_id()
        source = {"source_id": ids.get(row["source_id"], row["source_id"])}  # a result says which call it is of
        writes.append(Insert("messages", _copy(row, id, chat_id, thread_id) | source))
        for link in links.get(row["id"], ()):
            writes.append(Insert("message_attachments", {**link, "id": new_id(), "message_id": id}))
        for call in calls.get(row["id"], ()):
            copy = {**call, "id": ids[call["id"]], "message_id": id, "job_id": None}
            # It ran once: its time is that of the chat it ran in.
            writes.append(Insert("tool_invocations", copy | {"duration": None} | _undecided(call)))
    return writes


def _undecided(call: Row) -> Row:
    """Return what a copy of a call that has not ended is: it is decided and run in the chat that it came from."""
    if call["status"] not in ("pending", "running"):
        return {}
    return {"status": "cancelled", "error": "the conversation was forked before this was decided"}


def _copy(row: Row, id: str, chat_id: str, thread_id: str) -> Row:
    copy = {**row, "id": id, "thread_id": thread_id, "chat_id": chat_id if row["chat_id"] else None, "job_id": None}
    if row["origin"] == "orm":
        # Other programs write parts of another kind; their rows stay theirs.
        copy |= {"origin": "import", "content_raw": None}
    return copy | {"updated_at": clock.now()}
