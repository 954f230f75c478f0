"""Begin a turn: lock the thread and store the prompt in one transaction, before anything is sent.

What a turn resumes is read from the rows here, too: continuing, resuming and recovering are one question.
"""

from __future__ import annotations

import time
from typing import Literal

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, LockedError, NotFoundError, UsageError
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id
from llmctl.engine.jobs import lease
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.engine.turn.records import chat_changes, chat_row, job_row, message_writes, session_writes, timestamps
from llmctl.engine.turn.state import TurnIds
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow, SessionRow, ThreadRow

#: Why a call that waited for the user did not run.
_ABANDONED = "the conversation went on without it"

#: Seconds between two looks at a lock that another job holds.
_POLL_INTERVAL_S = 0.05

#: ``answer``: the last message is of a user or a tool; ``again``: the last answer was cut off; ``calls``: tools wait.
Unfinished = Literal["answer", "again", "calls"]


def begin_turn(database: Database, plan: TurnPlan, redact: Redaction, job_id: str) -> TurnIds:
    """Lock the chat's thread and commit the input; create the chat where there is none.

    Raises LockedError where another live job holds the thread for longer than ``plan.options.wait``.
    """
    if not plan.log:
        return _begin_unlogged(database, plan, job_id)
    deadline = time.monotonic() + plan.options.wait
    while True:
        try:
            with database.transaction(durable=True):
                return _begin(database, plan, redact, job_id)
        except LockedError:
            if time.monotonic() >= deadline:
                raise
        plan.runtime.sleep(_POLL_INTERVAL_S)


def release_failed_begin(database: Database, job_id: str, error: BaseException) -> None:
    """Unlock the thread of a turn that failed while it began; the input stays.

    A signal during the commit takes effect after it.
    """
    locked = chats.locked_thread_ids(database, job_id)
    if not locked:
        return
    known = error if isinstance(error, LlmctlError) else None
    end = {"status": "failed", "error": known.message} if known else {"status": "cancelled", "error": "interrupted"}
    now = clock.now()
    database.commit(
        Update("message_threads", locked[0], {"locking_job_id": None, "updated_at": now}),
        Update("jobs", job_id, {**end, "finished_at": now, "updated_at": now}),
        durable=True,
    )


def find_unfinished(database: Database, thread_id: str) -> Unfinished | None:
    """Return what is unfinished in a thread, or None."""
    last = chats.find_last_turn_message(database, thread_id)
    if last is None:
        return None
    if last.role in ("user", "tool"):
        return "answer"
    if last.status != "completed":
        return "again"
    from llmctl.store.records import invocations  # only to resume

    return "calls" if invocations.list_unanswered(database, thread_id) else None


def _begin(database: Database, plan: TurnPlan, redact: Redaction, job_id: str) -> TurnIds:
    chat = _reload_chat(database, plan)
    thread = chats.find_thread(database, chat.id) if chat else None
    ids = _allocate_ids(database, chat, thread, job_id, redact)
    now = clock.now()
    locked = {"locking_job_id": ids.job_id, "updated_at": now}
    writes: list[Write] = [
        Update("chats", chat.id, chat_changes(chat, plan, now))
        if chat
        else Insert("chats", chat_row(ids.chat_id, plan, redact, now)),
        Insert("jobs", job_row(database, ids, plan, now)),
        *session_writes(plan, ids.chat_id, _find_session(database, plan), now),
        *([] if thread else [_thread_insert(ids, now)]),
        Update("message_threads", ids.thread_id, locked),
        *_input_writes(database, ids, plan.input, chat),
    ]
    database.commit(*writes)
    ids.existing, ids.begin_writes = (chat, thread), tuple(writes)
    return ids


def _begin_unlogged(database: Database, plan: TurnPlan, job_id: str) -> TurnIds:
    """Begin a turn without text: it reads the chat's thread, if there is one, and locks nothing.

    Its job has no payload, but exists so that a request of a dead process is finished too.
    """
    chat = plan.chat
    thread = chats.find_thread(database, chat.id) if chat else None
    ids = TurnIds(chat.id if chat else new_id(), thread.id if thread else "", job_id, 0, "")
    row = job_row(database, ids, plan, clock.now()) | {"name": "chat", "payload": "{}"}
    ids.begin_writes = (Insert("jobs", row),)
    database.commit(*ids.begin_writes)
    return ids


def _reload_chat(database: Database, plan: TurnPlan) -> ChatRow | None:
    """Read the chat again: another process may have changed it in the meantime, or created one of that name."""
    if plan.chat is None:
        name = plan.name
        existing = chats.find_by_name(database, name) if name else None
        if existing and plan.agent:
            raise LockedError(
                f'another process just created the chat "{name}"', hint="run the command again to continue it"
            )
        if existing is None:
            chats.require_free_name(database, name)
        return existing
    chat = chats.find_by_id(database, plan.chat.id)
    if chat is None:
        raise NotFoundError("another process just deleted the chat")
    return chat


def _allocate_ids(
    database: Database, chat: ChatRow | None, thread: ThreadRow | None, job_id: str, redact: Redaction
) -> TurnIds:
    """Return where the turn's rows go; an existing thread is unlocked first."""
    ids = TurnIds(
        chat_id=chat.id if chat else new_id(),
        thread_id=thread.id if thread else new_id(),
        job_id=job_id,
        seq=0,
        last_time="",
    )
    if thread:
        _unlock_thread(database, thread.id, redact)
        last = chats.find_last_message(database, thread.id)
        ids.seq = last.seq or 0 if last else 0
        ids.last_time = chats.last_message_time(database, thread.id, ids.chat_id)
    return ids


def _unlock_thread(database: Database, thread_id: str, redact: Redaction) -> None:
    """Make sure that no process holds the thread; recover what a dead holder left."""
    job = chats.find_locking_job(database, thread_id)
    if job is None or job.status != "running":
        return
    from llmctl.engine import recovery  # only where another turn did not release the thread

    if lease.is_alive(job):
        raise recovery.thread_in_use_error(job, hint="wait for it with --wait 60")
    recovery.recover_job(database, job, redact)


def _thread_insert(ids: TurnIds, now: str) -> Write:
    return Insert("message_threads", {"id": ids.thread_id, "chat_id": ids.chat_id, **timestamps(now)})


def _find_session(database: Database, plan: TurnPlan) -> SessionRow | None:
    if plan.agent is None or not plan.agent.is_resumed:
        return None
    from llmctl.store.records import agents

    return agents.find_session(database, plan.agent.session_id)


def _input_writes(database: Database, ids: TurnIds, user_input: UserInput, chat: ChatRow | None) -> list[Write]:
    """Return the rows of the input, after what ends or resumes the unfinished part of the thread."""
    before = _resume_writes(database, ids) if user_input.is_resume else _abandoned_call_writes(database, ids)
    return before + [
        write
        for message in user_input.to_messages()
        if message.role != "system" or chat is None or message.text != chat.instructions
        for write in message_writes(ids, message, database=database)
    ]


def _resume_writes(database: Database, ids: TurnIds) -> list[Write]:
    if find_unfinished(database, ids.thread_id) is None:
        raise UsageError("this chat has no unfinished turn", hint="send a prompt: llmctl chat -c PROMPT")
    return _detach_partial_answer(database, ids.thread_id, clock.now())


def _detach_partial_answer(database: Database, thread_id: str, now: str) -> list[Write]:
    """Return what takes a partial last answer out of the chat; the thread keeps it."""
    last = chats.find_last_turn_message(database, thread_id)
    if last is None or last.status not in ("incomplete", "interrupted"):
        return []
    return [Update("messages", last.id, {"chat_id": None, "updated_at": now})]


def _abandoned_call_writes(database: Database, ids: TurnIds) -> list[Write]:
    """Return what ends the calls that still wait or were cut off, now that the user says something else.

    The model is told how each ended: without that, it would not know that one may have run.
    """
    now = clock.now()
    end = {"status": "cancelled", "error": _ABANDONED, "finished_at": now}
    cancelled: list[Write] = [
        Update("tool_invocations", id, {**end, "updated_at": now}, {"status": "pending"})
        for id in chats.list_abandoned_calls(database, ids.thread_id)
    ]
    last = chats.find_last_turn_message(database, ids.thread_id)
    if last is None or last.role == "user" or last.chat_id is not None:
        return cancelled
    from llmctl.engine.tools import records as tool_records  # only after a turn that was cut off at its calls
    from llmctl.store.records import invocations

    outcomes = [
        (row, tool_records.outcome_from_row(row) or tool_records.not_run_outcome(row.name, _ABANDONED))
        for row in invocations.list_unanswered(database, ids.thread_id)
    ]
    return cancelled + [
        write
        for row, outcome in outcomes
        for write in message_writes(ids, tool_records.result_message(row, outcome), source_id=row.id)
    ]
