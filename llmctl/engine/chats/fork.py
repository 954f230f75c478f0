"""Fork a chat: a new chat that shares the beginning of another one. Rewinding forks before the last user message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import Message, ToolResult
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.runtime import CallerInfo
from llmctl.store.database import Database, Insert, Row, Update, Write
from llmctl.store.records import chats, messages
from llmctl.store.records.chats import to_message
from llmctl.store.records.types import ChatRow, MessageRow, ThreadRow


def fork_chat(
    database: Database,
    chat: ChatRow,
    *,
    upto_seq: int | None = None,
    name: str | None = None,
    caller: CallerInfo | None = None,
) -> ChatRow:
    """Copy a chat up to and including ``upto_seq`` (None: all of it); return the new chat.

    Messages, their tool calls and links to their files are copied; requests are not: they were paid once. Pending
    messages are left out. Raises UsageError between a tool call and its result.
    """
    with database.transaction(durable=True):
        chats.require_free_name(database, name)
        thread = chats.find_thread(database, chat.id)
        rows = _list_rows_to_copy(database, thread, upto_seq) if thread else []
        now = clock.now()
        chat_id, thread_id = new_id(), new_id()
        new_thread = {
            "id": thread_id,
            "chat_id": chat_id,
            "parent_id": thread.id if thread else None,
            "parent_seq": rows[-1].seq if rows else None,
            **_timestamps(now),
        }
        changes = _changed_columns(database, thread, rows, caller) | {"id": chat_id, "name": name}
        writes: list[Write] = [Insert("chats", _copied_columns(database, chat.id) | changes | _timestamps(now))]
        writes.append(Insert("message_threads", new_thread))
        writes += _message_copies(database, rows, chat_id, thread_id)
        database.commit(*writes)
    return chats.get(database, chat_id)


def rewind_chat(database: Database, chat: ChatRow, caller: CallerInfo) -> tuple[ChatRow, Message]:
    """Fork a chat before its last user message; return the fork and that message, with its files.

    The old chat is superseded: its name moves to the fork, so that ``--name N`` continues where the user is, it becomes
    ``N~1``, ``N~2``, and listings leave it out. Its messages stay as they are.
    """
    last = chats.find_last_user_message(database, chat.id)
    if last is None:
        raise UsageError("nothing to rewind: the chat has no user message")
    with database.transaction():
        if chat.name:
            renamed = {"name": _pick_old_name(database, chat.name), "updated_at": clock.now()}
            database.commit(Update("chats", chat.id, renamed))
        fork = fork_chat(database, chat, upto_seq=(last.seq or 0) - 1, name=chat.name, caller=caller)
        database.commit(Update("chats", chat.id, {"superseded_by": fork.id, "updated_at": clock.now()}))
        files = chats.attachments_by_message(database, str(last.thread_id)).get(last.id, ())
    return fork, to_message(last, files)


def _pick_old_name(database: Database, name: str) -> str:
    number = 1
    while chats.find_by_name(database, f"{name}~{number}"):
        number += 1
    return f"{name}~{number}"


def _list_rows_to_copy(database: Database, thread: ThreadRow, upto_seq: int | None) -> list[MessageRow]:
    finished = [row for row in chats.list_thread_messages(database, thread.id) if row.status != "pending"]
    copied = [row for row in finished if upto_seq is None or (row.seq or 0) <= upto_seq]
    _refuse_split_calls(copied, finished[len(copied) :])
    return copied


def _refuse_split_calls(copied: Iterable[MessageRow], rest: Iterable[MessageRow]) -> None:
    """Raise UsageError where a call would be copied without its result: no provider accepts such a history."""
    called = {call.id: row.seq or 0 for row in copied for call in to_message(row).tool_calls}
    answered = {part.call_id for row in copied for part in _list_results(row)}
    for row in rest:
        for part in _list_results(row):
            if part.call_id in called and part.call_id not in answered:
                raise UsageError(
                    f'a fork cannot end between the tool call "{part.name}" and its result',
                    hint=f"fork at {called[part.call_id] - 1}, or at {row.seq} or later",
                )


def _list_results(row: MessageRow) -> list[ToolResult]:
    return [part for part in to_message(row).parts if isinstance(part, ToolResult)]


def _copied_columns(database: Database, chat_id: str) -> dict[str, Any]:
    """Return what the new chat takes from the old one, custom columns included."""
    columns = chats.get_columns(database, chat_id)
    refs = dumps({**loads(columns["refs"], {}), "forked_from": chat_id})
    return {**columns, "refs": refs, "origin": "llmctl"}


def _changed_columns(
    database: Database, thread: ThreadRow | None, rows: list[MessageRow], caller: CallerInfo | None
) -> dict[str, Any]:
    """Return the columns that differ from the old chat's: its system prompt at that place, and the last turn.

    The last turn is now and here, so that `chat --continue` continues the fork.
    """
    changes: dict[str, Any] = {"last_turn_at": clock.now(), "superseded_by": None}
    if caller:
        changes |= {"last_turn_folder": caller.folder, "last_turn_terminal": int(caller.terminal)}
    system = [row.content for row in rows if row.role == "system" and row.content]
    if system or (thread and any(row.role == "system" for row in chats.list_thread_messages(database, thread.id))):
        changes["instructions"] = system[-1] if system else None
    return changes


def _timestamps(now: str) -> dict[str, str]:
    return {"created_at": now, "updated_at": now}


def _message_copies(database: Database, rows: list[MessageRow], chat_id: str, thread_id: str) -> list[Write]:
    """Return copies of messages, with their tool calls and files; they keep their times and places."""
    if not rows:
        return []
    old_thread_id = str(rows[0].thread_id)
    columns = chats.list_message_columns(database, old_thread_id)
    links = messages.attachment_links_by_message(database, old_thread_id)
    calls = messages.invocations_by_message(database, old_thread_id)
    ids = {call["id"]: new_id() for message_calls in calls.values() for call in message_calls}
    writes: list[Write] = []
    for row in rows:
        id = new_id()
        source = {"source_id": ids.get(str(row.source_id), row.source_id)}  # a result refers to its call
        writes.append(Insert("messages", _copy_message(columns[row.id], id, chat_id, thread_id) | source))
        for link in links.get(row.id, ()):
            writes.append(Insert("message_attachments", {**link, "id": new_id(), "message_id": id}))
        for call in calls.get(row.id, ()):
            copy = {**call, "id": ids[call["id"]], "message_id": id, "job_id": None}
            # It ran once: its time is that of the chat it ran in.
            writes.append(Insert("tool_invocations", copy | {"duration": None} | _cancelled_columns(call)))
    return writes


def _cancelled_columns(call: Row) -> Row:
    """Return what cancels the copy of an unfinished call: it is decided and run in the original chat."""
    if call["status"] not in ("pending", "running"):
        return {}
    return {"status": "cancelled", "error": "the conversation was forked before this was decided"}


def _copy_message(row: Row, id: str, chat_id: str, thread_id: str) -> Row:
    copy = {**row, "id": id, "thread_id": thread_id, "chat_id": chat_id if row["chat_id"] else None, "job_id": None}
    if row["origin"] == "orm":
        # Other programs write parts of another kind; their rows stay theirs.
        copy |= {"origin": "import", "content_raw": None}
    return copy | {"updated_at": clock.now()}
