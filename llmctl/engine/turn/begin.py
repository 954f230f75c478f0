"""Before anything is sent: the thread's lock is taken and the prompt is safe, in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, LockedError, NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.core.messages import File, Message
from llmctl.core.stored_json import dumps
from llmctl.engine.jobs import lease, recovery
from llmctl.engine.turn import resume
from llmctl.engine.turn.chat_records import chat_changes, chat_row, file_writes, job_row, session_writes, times
from llmctl.engine.turn.message_parts import raw_parts
from llmctl.engine.turn.options import Ask
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations, threads
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

    def next(self) -> tuple[int, str]:
        """Return place and time of the next message: times strictly increase within a chat."""
        self.seq += 1
        self.time = max(clock.now(), clock.later(self.time, 0.001)) if self.time else clock.now()
        return self.seq, self.time


def stage(database: Database, plan: Plan, redact: Redaction, job_id: str) -> Staged:
    """Lock the chat's thread and commit what is asked; make the chat where there is none.

    Raises LockedError where another live job holds the thread for longer than ``plan.manner.wait_s``.
    """
    if not plan.keep.log:
        return _unlogged(database, plan, job_id)
    deadline = time.monotonic() + plan.manner.wait_s
    while True:
        try:
            with database.transaction(durable=True):
                return _stage(database, plan, redact, job_id)
        except LockedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_S)


def abandon(database: Database, job_id: str, error: BaseException) -> None:
    """Let go of a thread that was locked by a turn which never began; what was said stays.

    A signal that came during the commit takes effect after it.
    """
    thread_id = database.value("SELECT id FROM {message_threads} WHERE locking_job_id = ?", (job_id,))
    if thread_id is None:
        return
    known = error if isinstance(error, LlmctlError) else None
    ended = {"status": "failed", "error": known.message} if known else {"status": "cancelled", "error": "interrupted"}
    now = clock.now()
    database.commit(
        Update("message_threads", thread_id, {"locking_job_id": None, "updated_at": now}),
        Update("jobs", job_id, {**ended, "finished_at": now, "updated_at": now}),
        durable=True,
    )


def _stage(database: Database, plan: Plan, redact: Redaction, job_id: str) -> Staged:
    chat = _as_it_is_now(database, plan)
    thread = threads.of_chat(database, chat["id"]) if chat else None
    staged = _placed(database, chat, thread, job_id, redact)
    now = clock.now()
    locked = {"locking_job_id": staged.job_id, "updated_at": now}
    database.commit(
        Update("chats", chat["id"], chat_changes(chat, plan, now))
        if chat
        else Insert("chats", chat_row(staged.chat_id, plan, redact, now)),
        Insert("jobs", job_row(database, staged, plan, now)),
        *session_writes(plan, staged.chat_id, _session(database, plan), now),
        *([] if thread else [_thread_insert(staged, now)]),
        Update("message_threads", staged.thread_id, locked),
        *_spoken(database, staged, plan.ask, chat),
    )
    return staged


def _session(database: Database, plan: Plan) -> Row | None:
    sql = "SELECT * FROM {agent_sessions} WHERE id = ?"
    return database.one(sql, (plan.party.session_id,)) if plan.party and plan.party.is_resumed else None


def _as_it_is_now(database: Database, plan: Plan) -> Row | None:
    """Read the chat again: since we looked, another process may have changed it, or begun the one of that name."""
    if plan.chat is None:
        name = plan.keep.name
        found = database.one("SELECT * FROM {chats} WHERE name = ?", (name,)) if name else None
        if found and plan.party:
            raise LockedError(f'the chat "{name}" was begun meanwhile', hint="say it again, it is gone on with then")
        return found
    chat = database.one("SELECT * FROM {chats} WHERE id = ?", (plan.chat["id"],))
    if chat is None:
        raise NotFoundError("the chat was deleted meanwhile")
    return chat


def _thread_insert(staged: Staged, now: str) -> Write:
    return Insert("message_threads", {"id": staged.thread_id, "chat_id": staged.chat_id, **times(now)})


def _placed(database: Database, chat: Row | None, thread: Row | None, job_id: str, redact: Redaction) -> Staged:
    """Return where the turn's rows go; a thread that is there already is made free first."""
    staged = Staged(
        chat_id=chat["id"] if chat else new_id(),
        thread_id=thread["id"] if thread else new_id(),
        job_id=job_id,
        seq=0,
        time="",
    )
    if thread:
        _free(database, thread["id"], redact)
        last = threads.last(database, thread["id"])
        staged.seq = last["seq"] if last else 0
        staged.time = threads.newest_time(database, thread["id"], staged.chat_id)
    return staged


def _spoken(database: Database, staged: Staged, ask: Ask, chat: Row | None) -> list[Write]:
    """Return the rows of what is said; where nothing is, what goes on with the unfinished comes first."""
    before = _resumed(database, staged) if ask.goes_on else _left_behind(database, staged)
    return before + [
        write
        for message in ask.spoken()
        if message.role != "system" or chat is None or message.text != chat["instructions"]
        for write in message_writes(staged, message, database=database)
    ]


def _unlogged(database: Database, plan: Plan, job_id: str) -> Staged:
    """Return a turn without text: it reads the chat's thread, if there is one, and locks nothing.

    Its job says nothing but that it runs, so that a dead one's request is finished too.
    """
    chat = plan.chat
    thread = threads.of_chat(database, chat["id"]) if chat else None
    staged = Staged(chat["id"] if chat else new_id(), thread["id"] if thread else "", job_id, 0, "")
    row = job_row(database, staged, plan, clock.now()) | {"name": "chat", "payload": "{}"}
    database.commit(Insert("jobs", row))
    return staged


def message_writes(
    staged: Staged, message: Message, database: Database | None = None, source_id: str | None = None
) -> list[Write]:
    """Return the rows of a message that is complete already."""
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
        "source_id": source_id,
        "status": "completed",
        "content": message.said,
        "content_raw": raw_parts(message),
        "metadata": dumps(dict(message.metadata)) if message.metadata else None,
        "job_id": staged.job_id,
        "origin": "llmctl",
        **times(now),
    }
    return [Insert("messages", row), *file_writes(database, message_id, files, now)]


def _resumed(database: Database, staged: Staged) -> list[Write]:
    if resume.find(database, staged.thread_id) is None:
        raise UsageError("nothing is unfinished in this chat", hint="say something: llmctl chat -c PROMPT")
    return resume.leave_partial(database, staged.thread_id, clock.now())


def _left_behind(database: Database, staged: Staged) -> list[Write]:
    """Return what ends the calls that still wait, now that the user says something else."""
    now = clock.now()
    ended = {"status": "cancelled", "error": "the conversation went on without it", "finished_at": now}
    return [
        Update("tool_invocations", id, {**ended, "updated_at": now}, {"status": "pending"})
        for id in invocations.left_behind(database, staged.thread_id)
    ]


def _free(database: Database, thread_id: str, redact: Redaction) -> None:
    """Make sure that nobody holds the thread; what a dead holder left is put in order first."""
    job = threads.holder(database, thread_id)
    if job is None or job["status"] != "running":
        return
    if lease.is_alive(job):
        raise LockedError(
            f"the conversation is in use by process {job['pid']} on {str(job['host']).partition('/')[0]}",
            hint="wait for it with --wait SECONDS",
        )
    recovery.recover_job(database, job, redact)
