"""Delete chats with every copy of their text. Their costs stay in the ledger, unless usage is deleted, too."""

from __future__ import annotations

from llmctl.core import clock
from llmctl.store.database import Database, empty_wal

_THREADS = "SELECT id FROM {message_threads} WHERE chat_id = :chat"
#: Collect the rows that hold text of the chat, before the rows that link them are deleted.
_COLLECT = (
    "CREATE TEMP TABLE IF NOT EXISTS doomed (kind TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, id))",
    "DELETE FROM temp.doomed",
    "INSERT OR IGNORE INTO temp.doomed SELECT 'message', id FROM {messages} WHERE chat_id = :chat",
    f"INSERT OR IGNORE INTO temp.doomed SELECT 'message', id FROM {{messages}} WHERE thread_id IN ({_THREADS})",
    "INSERT OR IGNORE INTO temp.doomed SELECT 'request', id FROM {requests} WHERE chat_id = :chat",
    f"INSERT OR IGNORE INTO temp.doomed SELECT 'request', id FROM {{requests}} WHERE thread_id IN ({_THREADS})",
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'request', r.id
    FROM temp.doomed d JOIN {requests} r ON r.message_id = d.id WHERE d.kind = 'message'
    """,
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'attachment', a.attachment_id
    FROM temp.doomed d JOIN {message_attachments} a ON a.message_id = d.id WHERE d.kind = 'message'
    """,
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'job', job_id FROM (
      SELECT m.job_id FROM temp.doomed d JOIN {messages} m ON m.id = d.id WHERE d.kind = 'message'
      UNION SELECT i.job_id FROM temp.doomed d JOIN {tool_invocations} i ON i.message_id = d.id WHERE d.kind = 'message'
      UNION SELECT r.job_id FROM temp.doomed d JOIN {requests} r ON r.id = d.id WHERE d.kind = 'request'
      UNION SELECT locking_job_id FROM {message_threads} WHERE chat_id = :chat
      UNION SELECT id FROM {jobs} WHERE instr(payload, :chat) OR instr(refs, :chat)
    ) WHERE job_id IS NOT NULL
    """,
    # A command job that ran a turn: its log has the answer.
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'job', j.parent_id
    FROM temp.doomed d JOIN {jobs} j ON j.id = d.id WHERE d.kind = 'job' AND j.parent_id IS NOT NULL
    """,
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'log', text_log_id FROM (
      SELECT i.text_log_id FROM temp.doomed d JOIN {tool_invocations} i ON i.message_id = d.id WHERE d.kind = 'message'
      UNION SELECT j.text_log_id FROM temp.doomed d JOIN {jobs} j ON j.id = d.id WHERE d.kind = 'job'
    ) WHERE text_log_id IS NOT NULL
    """,
)
_MESSAGES, _REQUESTS, _JOBS, _ATTACHMENTS, _LOGS = (
    f"(SELECT id FROM temp.doomed WHERE kind = '{kind}')" for kind in ("message", "request", "job", "attachment", "log")
)
#: In this order: streams lose their message_id and request_id when those are deleted.
_DELETE_TEXT = (
    f"DELETE FROM {{response_streams}} WHERE message_id IN {_MESSAGES}",
    f"DELETE FROM {{response_streams}} WHERE request_id IN {_REQUESTS}",
    f"""
    UPDATE {{network_calls}} SET body = NULL, body_hash = NULL, shared_body_id = NULL, response = NULL, error = NULL,
      updated_at = :now
    WHERE request_id IN {_REQUESTS}
    """,
    f"""
    UPDATE {{requests}} SET error = NULL, parameters = NULL, cache_key = NULL, updated_at = :now
    WHERE id IN {_REQUESTS}
    """,
    f"""
    UPDATE {{map_items}} SET custom_id = id, input_hash = '', input = NULL, output = NULL, error = NULL,
      updated_at = :now
    WHERE request_id IN {_REQUESTS}
    """,
    f"""
    UPDATE {{jobs}} SET name = type, payload = '{{}}', result = NULL, error = NULL, text_log_id = NULL,
      updated_at = :now
    WHERE id IN {_JOBS}
    """,
    f"DELETE FROM {{messages}} WHERE id IN {_MESSAGES}",
    "DELETE FROM {chats} WHERE id = :chat",
    f"""
    DELETE FROM {{attachments}} WHERE id IN {_ATTACHMENTS}
      AND id NOT IN (SELECT attachment_id FROM {{message_attachments}} WHERE attachment_id IN {_ATTACHMENTS})
    """,
    f"""
    DELETE FROM {{text_logs}} WHERE id IN {_LOGS}
      AND id NOT IN (SELECT text_log_id FROM {{tool_invocations}} WHERE text_log_id IN {_LOGS})
    """,
)
#: Subtract from the daily totals before the rows are deleted; deleting alone does not.
_SUBTRACT_ACTIVITY = (
    f"UPDATE {{messages}} SET chat_id = NULL WHERE id IN {_MESSAGES} AND chat_id IS NOT NULL",
    f"""
    INSERT INTO {{activity_daily}} (day, tool, tool_calls, failed_tool_calls, tool_duration)
    SELECT substr(created_at, 1, 10) || 'T00:00:00.000+00:00', name,
      -count(*), -sum(status = 'failed'), -sum(coalesce(duration, 0))
    FROM {{tool_invocations}} WHERE message_id IN {_MESSAGES} GROUP BY 1, 2
    ON CONFLICT (day, tool) DO UPDATE SET tool_calls = tool_calls + excluded.tool_calls,
      failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
      tool_duration = tool_duration + excluded.tool_duration
    """,
    "DELETE FROM {activity_daily} WHERE messages = 0 AND tool_calls = 0",
)
#: Setting a request to pending makes its trigger subtract it from the roll-ups; pending ones are not counted. Before
#: its tool calls go: it counts for each of them.
_SUBTRACT_USAGE = f"UPDATE {{requests}} SET status = 'pending' WHERE id IN {_REQUESTS} AND status <> 'pending'"
_DELETE_USAGE = (
    f"DELETE FROM {{network_calls}} WHERE request_id IN {_REQUESTS}",
    f"DELETE FROM {{requests}} WHERE id IN {_REQUESTS}",
)
_FORKS = """
SELECT t.chat_id FROM {message_threads} t JOIN {message_threads} p ON p.id = t.parent_id
WHERE p.chat_id = ? AND t.chat_id IS NOT NULL
"""
#: The same of a map: its threads belong to no chat.
_JOB_THREADS = """
SELECT DISTINCT t.id FROM {messages} m JOIN {message_threads} t ON t.id = m.thread_id
WHERE m.job_id = :job AND t.chat_id IS NULL
"""
_COLLECT_JOB = (
    *_COLLECT[:2],
    f"INSERT OR IGNORE INTO temp.doomed SELECT 'thread', id FROM ({_JOB_THREADS})",
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'message', m.id
    FROM temp.doomed d JOIN {messages} m ON m.thread_id = d.id WHERE d.kind = 'thread'
    """,
    "INSERT OR IGNORE INTO temp.doomed SELECT 'request', id FROM {requests} WHERE job_id = :job",
    """
    INSERT OR IGNORE INTO temp.doomed SELECT 'log', text_log_id
    FROM {jobs} WHERE id = :job AND text_log_id IS NOT NULL
    """,
)
_DELETE_JOB = (
    "DELETE FROM {message_threads} WHERE id IN (SELECT id FROM temp.doomed WHERE kind = 'thread')",
    "DELETE FROM {map_items} WHERE job_id = :job",
    "DELETE FROM {jobs} WHERE id = :job",
)
_MERGE_INDEX = "INSERT INTO message_search (message_search, rank) VALUES ('merge', -1000)"


def delete_chat(database: Database, chat_id: str, *, with_usage: bool = False) -> tuple[str, ...]:
    """Delete a chat and every copy of its text from the tables; return the ids of its forks.

    :func:`purge_deleted_text` does the rest. Rows of the ledger stay without their text; with ``with_usage`` they
    are deleted and subtracted from the roll-ups. One transaction; joins a running one.
    """
    values = {"chat": chat_id, "now": clock.now()}
    with database.transaction(durable=True):
        forks = tuple(row["chat_id"] for row in database.rows(_FORKS, (chat_id,)))
        for statement in (*_COLLECT, *((*_SUBTRACT_ACTIVITY, _SUBTRACT_USAGE) if with_usage else ())):
            database.execute(statement, values)
        for statement in (*_DELETE_TEXT, *(_DELETE_USAGE if with_usage else ())):
            database.execute(statement, values)
    return forks


def delete_map(database: Database, job_id: str, *, with_usage: bool = False) -> None:
    """Delete a map job with its rows and every copy of their text, like :func:`delete_chat`."""
    values = {"job": job_id, "chat": "", "now": clock.now()}
    with database.transaction(durable=True):
        for statement in (*_COLLECT_JOB, *((*_SUBTRACT_ACTIVITY, _SUBTRACT_USAGE) if with_usage else ())):
            database.execute(statement, values)
        for statement in (*_DELETE_TEXT, *(_DELETE_USAGE if with_usage else ()), *_DELETE_JOB):
            database.execute(statement, values)


def purge_deleted_text(database: Database) -> bool:
    """Remove traces of deleted text: words in old segments of the search index, pages in the WAL.

    Returns False if another process still reads the WAL, which is emptied when it ends. Other writers get
    their turn in between: the index is merged in small steps.
    """
    while True:
        before = database.connection.total_changes
        with database.transaction():
            database.execute(_MERGE_INDEX)
        if database.connection.total_changes - before < 2:
            break
    return empty_wal(database.connection)
