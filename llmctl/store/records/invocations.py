"""The tool_invocations table. Each change of status is one UPDATE that checks the old status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import decode_arguments, dumps
from llmctl.store import refs
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records.types import InvocationRow

STATUSES = ("pending", "running", "completed", "failed", "denied", "cancelled")

#: Steps of the turn that began with the last user message; other programs run their calls themselves.
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
_OF_OTHER_PROGRAMS = """
SELECT i.* FROM {messages} m JOIN {tool_invocations} i ON i.message_id = m.id
WHERE m.thread_id = ? AND m.role = 'assistant' AND m.origin <> 'llmctl' ORDER BY i.created_at, i.rowid
"""
_OF_CHATS = """
FROM {tool_invocations} i
LEFT JOIN {messages} m ON m.id = i.message_id
LEFT JOIN {message_threads} t ON t.id = m.thread_id
"""
_FILTERS = """
WHERE (:status IS NULL OR i.status = :status) AND (:tool IS NULL OR i.tool_id = :tool OR i.name = :tool)
AND (:chat IS NULL OR t.chat_id = :chat)
"""
_LIST = (
    f"SELECT i.*, t.chat_id, c.name AS chat, a.name AS agent {_OF_CHATS} LEFT JOIN {{chats}} c ON c.id = t.chat_id"
    f" LEFT JOIN {{agents}} a ON c.type = 'agent' AND a.id = c.source_id {_FILTERS}"
    " ORDER BY i.created_at DESC, i.rowid DESC LIMIT :limit"
)
_COUNT = f"SELECT count(*) {_OF_CHATS} {_FILTERS}"
_PENDING_APPROVALS = """
SELECT i.*, t.chat_id, c.name AS chat, a.name AS agent FROM {tool_invocations} i
JOIN {messages} m ON m.id = i.message_id
JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = t.chat_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
WHERE i.status = 'pending' AND i.decision IS NULL AND i.origin = 'llmctl' AND i.created_at >= :since
AND m.seq > coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = t.id AND role = 'user'), 0)
ORDER BY i.created_at, i.rowid
"""
_INTERRUPTED = """
SELECT i.id, i.status, s.id AS session_id FROM {tool_invocations} i LEFT JOIN {agent_sessions} s ON s.id = i.id
WHERE i.job_id = ? AND (i.status = 'running' OR i.status = 'pending' AND i.message_id IS NULL)
"""
_ABANDONED = """
SELECT i.id, i.status, s.id AS session_id FROM {tool_invocations} i LEFT JOIN {agent_sessions} s ON s.id = i.id
LEFT JOIN {jobs} j ON j.id = i.job_id
WHERE i.origin = 'llmctl' AND j.status IS NOT 'running'
AND (i.status = 'running' OR i.status = 'pending' AND i.message_id IS NULL)
"""
#: The session of a sub-agent has the id of the call.
_SUBAGENT_CALL = """
SELECT i.* FROM {agent_sessions} s JOIN {tool_invocations} i ON i.id = s.id
WHERE s.chat_id = ? AND i.status IN ('pending', 'running')
"""
_DECIDE = """
UPDATE {tool_invocations} SET decision = :decision, status = :status, finished_at = :finished_at, updated_at = :now
WHERE id = :id AND status = 'pending' AND decision IS NULL
"""
_CLAIM = """
UPDATE {tool_invocations} SET status = 'running', decision = :decision, tool_id = :tool_id, job_id = :job_id,
  started_at = :now, updated_at = :now WHERE id = :id AND status = 'pending'
"""


def list_unanswered(database: Database, thread_id: str) -> list[InvocationRow]:
    """Return the calls of the current turn without a result in the thread, in the order they were made."""
    return list(map(InvocationRow.from_row, database.query(_UNANSWERED, {"thread": thread_id})))


def list_by_message(database: Database, thread_id: str) -> dict[str, list[InvocationRow]]:
    """Return message id -> its calls in order, for the messages of a thread that llmctl did not write."""
    found: dict[str, list[InvocationRow]] = {}
    for row in map(InvocationRow.from_row, database.query(_OF_OTHER_PROGRAMS, (thread_id,))):
        found.setdefault(str(row.message_id), []).append(row)
    return found


def list_pending_columns(database: Database, thread_id: str) -> list[Row]:
    """Return the pending calls of the current turn with all their columns, custom ones included."""
    return [row for row in database.query(_UNANSWERED, {"thread": thread_id}) if row["status"] == "pending"]


def find_final_answer(database: Database, thread_id: str) -> str | None:
    """Return the result of a call that ended the current turn, if it is not stored as the answer yet."""
    sql = f"SELECT i.result {_OF_TURN} AND i.halts ORDER BY m.seq, i.rowid LIMIT 1"
    value: str | None = database.value(sql, {"thread": thread_id})
    return value


def called_tool_ids(database: Database, thread_id: str) -> list[str]:
    """Return the ids of the tools that the current turn has called."""
    sql = f"SELECT DISTINCT i.tool_id {_OF_TURN} AND i.tool_id IS NOT NULL"
    return [row["tool_id"] for row in database.query(sql, {"thread": thread_id})]


def list_interrupted(database: Database, job_id: str) -> list[Row]:
    """Return ``id``, ``status`` and ``session_id`` of a job's calls that ran, or that a person made and never ran.

    ``session_id`` is that of the sub-agent which answers the call, if one does.
    """
    return database.query(_INTERRUPTED, (job_id,))


def list_abandoned(database: Database) -> list[Row]:
    """Return what :func:`list_interrupted` does of the calls whose job has ended."""
    return database.query(_ABANDONED)


def find_chat_id(database: Database, message_id: str | None) -> str | None:
    """Return the id of the chat with a message, or None."""
    sql = "SELECT t.chat_id FROM {messages} m JOIN {message_threads} t ON t.id = m.thread_id WHERE m.id = ?"
    chat_id: str | None = database.value(sql, (message_id,))
    return chat_id


def find_subagent_call(database: Database, chat_id: str) -> InvocationRow | None:
    """Return the open call that a chat of a sub-agent answers, or None."""
    return InvocationRow.find_row(database.one(_SUBAGENT_CALL, (chat_id,)))


def get(database: Database, ref: str) -> InvocationRow:
    """Return the row a REF refers to."""
    return InvocationRow.from_row(refs.get(database, "tool_invocations", ref, kind="invocation"))


def list_(
    database: Database, status: str | None, tool: str | None, chat: str | None, limit: int | None
) -> Iterator[Row]:
    """Yield invocations as records, newest first."""
    shape = Serializer(database, "tool_invocations")
    values = {"status": status, "tool": tool, "chat": chat, "limit": -1 if limit is None else limit}
    return (to_record(shape, row) for row in database.rows(_LIST, values))


def count(database: Database, status: str | None, tool: str | None, chat: str | None) -> int:
    """Return the number of invocations of :func:`list_`."""
    return int(database.value(_COUNT, {"status": status, "tool": tool, "chat": chat}))


def list_pending_approvals(database: Database, since: str) -> list[Row]:
    """Return the calls made since a time that wait for approval, oldest first."""
    shape = Serializer(database, "tool_invocations")
    return [to_record(shape, row) for row in database.rows(_PENDING_APPROVALS, {"since": since})]


def get_record(database: Database, ref: str) -> Row:
    """Return the invocation a REF refers to as a record, with its arguments as JSON."""
    row = refs.get(database, "tool_invocations", ref, kind="invocation")
    return to_record(Serializer(database, "tool_invocations"), row)


def to_record(shape: Serializer, row: Row) -> Row:
    """Return a row as a record, with its arguments as JSON."""
    return shape.to_record(row) | {"arguments": decode_arguments(row["arguments"])}


def claim(database: Database, id: str, *, decision: Any, tool_id: str | None, job_id: str) -> bool:
    """Mark a pending call as running; return False if another process was faster."""
    values = {"id": id, "decision": dumps(decision), "tool_id": tool_id, "job_id": job_id, "now": clock.now()}
    return database.execute(_CLAIM, values) == 1


def decide(database: Database, id: str, decision: Any, *, denied: bool) -> bool:
    """Store the decision on a pending call; return False if it is not pending or was decided before."""
    now = clock.now()
    status, finished_at = ("denied", now) if denied else ("pending", None)
    values = {"id": id, "decision": dumps(decision), "status": status, "finished_at": finished_at, "now": now}
    with database.transaction(durable=True):
        return database.execute(_DECIDE, values) == 1
