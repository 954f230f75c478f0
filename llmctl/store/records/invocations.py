"""Runs of tools: from the call that waits to its result. A change of status is one UPDATE that checks the old one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_json import dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape, arguments

STATUSES = ("pending", "running", "completed", "failed", "denied", "cancelled")

#: Steps of the turn that the user's last word began; those of other programs answer their calls themselves.
_OF_TURN = """
FROM {tool_invocations} i JOIN {messages} m ON m.id = i.message_id
WHERE m.thread_id = :thread AND m.role = 'assistant' AND m.chat_id IS NULL AND i.origin = 'llmctl'
AND m.seq > coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = :thread AND role = 'user'), 0)
"""
_UNANSWERED = (
    "SELECT i.* "
    + _OF_TURN
    + """
AND i.id NOT IN (
  SELECT source_id FROM {messages} WHERE thread_id = :thread AND role = 'tool' AND source_id IS NOT NULL
) ORDER BY m.seq, i.rowid
"""
)
_LIST = """
SELECT i.*, t.chat_id, c.name AS chat, a.name AS agent FROM {tool_invocations} i
LEFT JOIN {messages} m ON m.id = i.message_id
LEFT JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = t.chat_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
WHERE (:status IS NULL OR i.status = :status) AND (:tool IS NULL OR i.tool_id = :tool OR i.name = :tool)
AND (:chat IS NULL OR t.chat_id = :chat)
ORDER BY i.created_at DESC, i.rowid DESC LIMIT :limit
"""
_UNDECIDED = """
SELECT i.*, t.chat_id, c.name AS chat, a.name AS agent FROM {tool_invocations} i
JOIN {messages} m ON m.id = i.message_id
JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = t.chat_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
WHERE i.status = 'pending' AND i.decision IS NULL AND i.origin = 'llmctl' AND i.created_at >= :since
AND m.seq > coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = t.id AND role = 'user'), 0)
ORDER BY i.created_at, i.rowid
"""
_LEFT_BEHIND = """
SELECT i.id FROM {tool_invocations} i JOIN {messages} m ON m.id = i.message_id
WHERE m.thread_id = ? AND i.status = 'pending' AND i.origin = 'llmctl'
"""
_DECIDE = """
UPDATE {tool_invocations} SET decision = :decision, status = :status, finished_at = :finished_at, updated_at = :now
WHERE id = :id AND status = 'pending' AND decision IS NULL
"""
_CLAIM = """
UPDATE {tool_invocations} SET status = 'running', decision = :decision, tool_id = :tool_id, job_id = :job_id,
  started_at = :now, updated_at = :now WHERE id = :id AND status = 'pending'
"""


def unanswered(database: Database, thread_id: str) -> list[Row]:
    """Return the calls of the present turn that have no result in the thread, in the order they were asked for."""
    return database.query(_UNANSWERED, {"thread": thread_id})


def final_answer(database: Database, thread_id: str) -> str | None:
    """Return the result of a call that ended the present turn, where nobody has come to write that answer down."""
    sql = f"SELECT i.result {_OF_TURN} AND i.halts ORDER BY m.seq, i.rowid LIMIT 1"
    found: str | None = database.value(sql, {"thread": thread_id})
    return found


def left_behind(database: Database, thread_id: str) -> list[str]:
    """Return the ids of calls that wait although the user goes on to something else."""
    return [row["id"] for row in database.query(_LEFT_BEHIND, (thread_id,))]


def tools_of(database: Database, thread_id: str) -> list[str]:
    """Return the ids of the tools that the present turn has called."""
    sql = f"SELECT DISTINCT i.tool_id {_OF_TURN} AND i.tool_id IS NOT NULL"
    return [row["tool_id"] for row in database.query(sql, {"thread": thread_id})]


def get(database: Database, ref: str) -> Row:
    """Return the row that a REF means."""
    return refs.get(database, "tool_invocations", ref, kind="invocation")


def listed(
    database: Database, status: str | None, tool: str | None, chat: str | None, limit: int | None
) -> Iterator[Row]:
    """Yield runs as records, newest first."""
    shape = Shape(database, "tool_invocations")
    values = {"status": status, "tool": tool, "chat": chat, "limit": -1 if limit is None else limit}
    return (record(shape, row) for row in database.rows(_LIST, values))


def undecided(database: Database, since: str) -> list[Row]:
    """Return the calls that wait for a person since that time or later, oldest first."""
    shape = Shape(database, "tool_invocations")
    return [record(shape, row) for row in database.rows(_UNDECIDED, {"since": since})]


def record(shape: Shape, row: Row) -> Row:
    """Return a row as a record, its arguments as JSON."""
    return shape.record(row) | {"arguments": arguments(row["arguments"])}


def claim(database: Database, id: str, *, decision: Any, tool_id: str | None, job_id: str) -> bool:
    """Take a waiting call to run it; False where somebody else was quicker."""
    values = {"id": id, "decision": dumps(decision), "tool_id": tool_id, "job_id": job_id, "now": clock.now()}
    return database.execute(_CLAIM, values) == 1


def decide(database: Database, id: str, decision: Any, *, denied: bool) -> bool:
    """Note what was decided of a waiting call; False where it does not wait, or another one decided before."""
    now = clock.now()
    status, finished_at = ("denied", now) if denied else ("pending", None)
    values = {"id": id, "decision": dumps(decision), "status": status, "finished_at": finished_at, "now": now}
    with database.transaction(durable=True):
        return database.execute(_DECIDE, values) == 1
