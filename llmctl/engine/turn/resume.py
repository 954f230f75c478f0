"""What the rows of a thread say is still to be done. Continuing, resuming and recovering are this one question."""

from __future__ import annotations

from typing import Literal

from llmctl.store.database import Database, Row
from llmctl.store.records import invocations
from llmctl.store.writes import Update, Write

#: ``answer``: the user (or a tool) spoke last; ``again``: the last answer broke off; ``calls``: tools wait.
Unfinished = Literal["answer", "again", "calls"]


def find(database: Database, thread_id: str) -> Unfinished | None:
    """Return what is unfinished in a thread, or None."""
    last = _last_spoken(database, thread_id)
    if last is None:
        return None
    if last["role"] in ("user", "tool"):
        return "answer"
    if last["status"] != "completed":
        return "again"
    return "calls" if invocations.unanswered(database, thread_id) else None


def leave_partial(database: Database, thread_id: str, now: str) -> list[Write]:
    """Return what takes a broken last answer out of the chat; the thread keeps it."""
    last = _last_spoken(database, thread_id)
    if last is None or last["status"] not in ("incomplete", "interrupted"):
        return []
    return [Update("messages", last["id"], {"chat_id": None, "updated_at": now})]


def _last_spoken(database: Database, thread_id: str) -> Row | None:
    return database.one(
        "SELECT * FROM {messages} WHERE thread_id = ? AND role <> 'system' ORDER BY seq DESC LIMIT 1", (thread_id,)
    )
