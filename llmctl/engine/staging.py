"""Before anything is sent: the thread's lock is taken and the prompt is safe, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LockedError, NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.core.jsontext import dumps, loads
from llmctl.core.messages import File, Message, Text
from llmctl.engine import holder, recovery, unfinished
from llmctl.engine.asking import Ask, Keep, Manner, Origin
from llmctl.engine.parts import raw_parts
from llmctl.engine.target import Target
from llmctl.store import threads
from llmctl.store.database import Database, Row
from llmctl.store.writes import Insert, Update, Write

#: Seconds between two looks at a lock that somebody else holds.
_PAUSE_S = 0.05

_TYPES = {"assistant": "chatModel", "tool": "toolCall"}


@dataclass(slots=True)
class Staged:
    """The rows a turn stands on. ``seq`` and ``time`` are those of its last row so far."""

    chat_id: str
    thread_id: str
    job_id: str
    seq: int
    time: str
    is_new: bool

    def next(self) -> tuple[int, str]:
        """Return place and time of the next message: times strictly increase within a chat."""
        self.seq += 1
        self.time = max(clock.now(), clock.later(self.time, 0.001)) if self.time else clock.now()
        return self.seq, self.time


def stage(
    database: Database, chat: Row | None, target: Target, ask: Ask, manner: Manner, keep: Keep, origin: Origin
) -> Staged:
    """Lock the chat's thread and commit what is asked; make the chat where there is none.

    Raises LockedError where another live job holds the thread for longer than ``manner.wait_s``.
    """
    if not keep.log:
        return _unlogged(database, chat)
    deadline = time.monotonic() + manner.wait_s
    while True:
        try:
            with database.transaction(durable=True):
                return _stage(database, chat, target, ask, manner, keep, origin)
        except LockedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_S)


def _stage(
    database: Database, chat: Row | None, target: Target, ask: Ask, manner: Manner, keep: Keep, origin: Origin
) -> Staged:
    now = clock.now()
    if chat is None and keep.name:  # another process may have begun it since we looked
        chat = database.one("SELECT * FROM {chats} WHERE name = ?", (keep.name,))
    thread = threads.of_chat(database, chat["id"]) if chat else None
    staged = Staged(
        chat_id=chat["id"] if chat else new_id(),
        thread_id=thread["id"] if thread else new_id(),
        job_id=new_id(),
        seq=0,
        time="",
        is_new=chat is None,
    )
    if thread:
        _free(database, thread["id"])
        last = threads.last(database, thread["id"])
        staged.seq = last["seq"] if last else 0
        staged.time = threads.newest_time(database, thread["id"], staged.chat_id)
    writes: list[Write] = []
    if chat is None:
        writes.append(Insert("chats", _chat_row(staged.chat_id, target, ask, manner, keep, origin, now)))
    else:
        writes.append(Update("chats", staged.chat_id, _chat_changes(database, chat, ask, keep, origin, now)))
    writes.append(Insert("jobs", _job_row(staged, keep, now)))
    if thread is None:
        writes.append(Insert("message_threads", {"id": staged.thread_id, "chat_id": staged.chat_id, **_times(now)}))
    writes.append(Update("message_threads", staged.thread_id, {"locking_job_id": staged.job_id, "updated_at": now}))
    if not any(True for _ in said(ask)):
        writes += _resumed(database, staged, now)
    for message in said(ask):
        if message.role != "system" or chat is None or message.text != chat["instructions"]:
            writes += message_writes(staged, message, database=database)
    database.commit(*writes)
    return staged


def _unlogged(database: Database, chat: Row | None) -> Staged:
    """Return a turn without rows: it reads the chat's thread, if there is one, and locks nothing."""
    thread = threads.of_chat(database, chat["id"]) if chat else None
    return Staged(chat["id"] if chat else new_id(), thread["id"] if thread else "", new_id(), 0, "", chat is None)


def message_writes(staged: Staged, message: Message, database: Database | None = None) -> list[Write]:
    """Return the rows of a message that is complete already; it is part of the chat."""
    seq, now = staged.next()
    files = [part for part in message.parts if isinstance(part, File)]
    message_id = new_id()
    row = {
        "id": message_id,
        "thread_id": staged.thread_id,
        "seq": seq,
        "chat_id": None if message.role == "tool" or message.tool_calls else staged.chat_id,
        "role": message.role,
        "type": _TYPES.get(message.role, message.role),
        "status": "completed",
        "content": message.text,
        "content_raw": raw_parts(message),
        "job_id": staged.job_id,
        "origin": "llmctl",
        **_times(now),
    }
    return [Insert("messages", row), *_file_writes(database, message_id, files, now)]


def said(ask: Ask) -> Iterable[Message]:
    if ask.system is not None:
        yield Message.of("system", ask.system)
    yield from ask.messages
    if ask.prompt is not None or ask.files:
        text = (Text(ask.prompt),) if ask.prompt else ()
        yield Message("user", (*text, *ask.files))


def _resumed(database: Database, staged: Staged, now: str) -> list[Write]:
    if unfinished.find(database, staged.thread_id) is None:
        raise UsageError("nothing is unfinished in this chat", hint="say something: llmctl chat -c PROMPT")
    return unfinished.leave_partial(database, staged.thread_id, now)


def _free(database: Database, thread_id: str) -> None:
    """Make sure that nobody holds the thread; what a dead holder left is put in order first."""
    job = threads.holder(database, thread_id)
    if job is None or job["status"] != "running":
        return
    if holder.is_alive(job):
        raise LockedError(
            f"the conversation is in use by process {job['pid']} on {str(job['host']).partition('/')[0]}",
            hint="wait for it with --wait SECONDS",
        )
    recovery.recover_job(database, job)


def _chat_row(
    chat_id: str, target: Target, ask: Ask, manner: Manner, keep: Keep, origin: Origin, now: str
) -> dict[str, Any]:
    settings = {
        "options": dict(manner.options),
        "thinking": manner.thinking,
        "without": sorted(keep.without),
        "provider": target.provider.name,
    }
    return {
        "id": chat_id,
        "name": keep.name,
        "type": "chatModel",
        "source_id": target.connection_id,
        "model": target.model,
        "provider": target.provider.nodellm_id,
        "instructions": ask.system,
        "metadata": dumps(dict(keep.metadata)) if keep.metadata else None,
        "refs": dumps(dict(keep.references)),
        "settings": dumps({name: value for name, value in settings.items() if value}),
        "origin": "llmctl",
        **keep.fields,
        **_last_turn(origin, now),
        **_times(now),
    }


def _chat_changes(database: Database, chat: Row, ask: Ask, keep: Keep, origin: Origin, now: str) -> dict[str, Any]:
    if database.value("SELECT 1 FROM {chats} WHERE id = ?", (chat["id"],)) is None:
        raise NotFoundError("the chat was deleted meanwhile")
    changes: dict[str, Any] = {**keep.fields, **_last_turn(origin, now), "updated_at": now}
    if ask.system is not None:
        changes["instructions"] = ask.system
    if keep.metadata:
        changes["metadata"] = dumps({**loads(chat["metadata"], {}), **keep.metadata})
    if keep.references:
        changes["refs"] = dumps({**loads(chat["refs"], {}), **keep.references})
    return changes


def _last_turn(origin: Origin, now: str) -> dict[str, Any]:
    return {
        "last_turn_at": now,
        "last_turn_folder": origin.folder,
        "last_turn_terminal": int(origin.terminal),
    }


def _job_row(staged: Staged, keep: Keep, now: str) -> dict[str, Any]:
    payload = {"chat_id": staged.chat_id, "thread_id": staged.thread_id}
    if keep.rollback:
        payload["rollback"] = "true"
    return {
        "id": staged.job_id,
        "name": keep.name or "chat",
        "type": "turn",
        "status": "running",
        "payload": dumps(payload),
        **holder.current()._asdict(),
        "lease_expires_at": holder.lease(),
        "started_at": now,
        **_times(now),
    }


def _file_writes(database: Database | None, message_id: str, files: list[File], now: str) -> list[Write]:
    writes: list[Write] = []
    seen: dict[str, str] = {}
    for position, file in enumerate(files):
        content_hash = sha256(file.data if file.data is not None else (file.url or "").encode()).hexdigest()
        known = seen.get(content_hash) or (
            database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (content_hash,)) if database else None
        )
        attachment_id = known or new_id()
        seen[content_hash] = attachment_id
        if known is None:
            writes.append(Insert("attachments", _attachment_row(attachment_id, file, content_hash, now)))
        link = {"id": new_id(), "message_id": message_id, "attachment_id": attachment_id, "position": position}
        writes.append(Insert("message_attachments", link | _times(now)))
    return writes


def _attachment_row(attachment_id: str, file: File, content_hash: str, now: str) -> dict[str, Any]:
    return {
        "id": attachment_id,
        "name": file.name,
        "media_type": file.media_type,
        "content_hash": content_hash,
        "content": file.data,
        "url": file.url,
        "size": len(file.data or b""),
        **_times(now),
    }


def _times(now: str) -> dict[str, str]:
    return {"created_at": now, "updated_at": now}
