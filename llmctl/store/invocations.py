"""Runs of tools, as far as a turn needs them."""

from __future__ import annotations

from llmctl.store.database import Database, Row


def pending(database: Database, thread_id: str) -> list[Row]:
    """Return the undecided calls of the thread's last message, in the order they were asked for."""
    return database.query(
        "SELECT i.* FROM {tool_invocations} i JOIN {messages} m ON m.id = i.message_id"
        " WHERE m.thread_id = :thread AND i.status = 'pending' AND m.role = 'assistant'"
        " AND m.seq > coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = :thread AND role = 'user'), 0)"
        " ORDER BY m.seq, i.rowid",
        {"thread": thread_id},
    )
