"""Which rows of a hub come in which order when it is read as a whole: SQL and nothing else."""

from __future__ import annotations

from typing import NamedTuple

from llmctl.store.schema import ddl


class Part(NamedTuple):
    """Rows of one table: what follows FROM, where ``t`` is the table, and their order."""

    table: str
    source: str
    order: str


#: What stands outside of conversations. ``WHICH`` is the condition of what was chosen.
SHARED = (
    Part("user_settings", "{user_settings} t WHERE (WHICH)", "t.id"),
    Part("model_connections", "{model_connections} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("model_prices", "{model_prices} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("model_aliases", "{model_aliases} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("tools", "{tools} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("agents", "{agents} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("agent_tool_connections", "{agent_tool_connections} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("permission_rules", "{permission_rules} t WHERE (WHICH) AND t.chat_id IS NULL", "t.created_at, t.id"),
    Part("text_logs", "{text_logs} t WHERE (WHICH) AND t.series_id IS NULL", "t.id"),
    Part("text_logs", "{text_logs} t WHERE (WHICH) AND t.series_id IS NOT NULL", "t.series_id, t.position"),
    Part("jobs", "{jobs} t WHERE (WHICH)", "t.created_at, t.id"),
    Part("attachments", "{attachments} t WHERE (WHICH)", "t.id"),
    Part("metrics", "{metrics} t WHERE (WHICH)", "t.id"),
)

#: What belongs to a chat, beside its threads.
OF_CHAT = (
    Part("agent_sessions", "{agent_sessions} t WHERE t.chat_id = :chat", "t.id"),
    Part("permission_rules", "{permission_rules} t WHERE t.chat_id = :chat", "t.created_at, t.id"),
)
THREADS = Part("message_threads", "{message_threads} t WHERE t.chat_id = :chat", "t.created_at, t.id")
STRAY = Part("messages", "{messages} t WHERE t.chat_id = :chat AND t.thread_id IS NULL", "t.created_at, t.id")
OF_THREAD = (
    Part("messages", "{messages} t WHERE t.thread_id = :thread", "t.seq, t.id"),
    Part(
        "message_attachments",
        "{messages} m CROSS JOIN {message_attachments} t ON t.message_id = m.id WHERE m.thread_id = :thread",
        "m.seq, t.position, t.id",
    ),
    Part(
        "tool_invocations",
        "{messages} m CROSS JOIN {tool_invocations} t ON t.message_id = m.id WHERE m.thread_id = :thread",
        "m.seq, t.created_at, t.id",
    ),
    Part(
        "rendered_conversation_threads",
        "{rendered_conversation_threads} t WHERE t.thread_id = :thread",
        "t.created_at, t.id",
    ),
)


def _ledger(of: str, streams: str) -> tuple[Part, ...]:
    """Return the ledger's rows: of the requests that meet ``of``, and of streams ``s`` that have no request."""
    lone = "{response_streams} s CROSS JOIN {response_streams} t ON t.id = s.id WHERE s.request_id IS NULL"
    pieces = "CROSS JOIN {stream_chunks} t ON t.stream_id = s.id"
    return (
        Part("requests", f"{{requests}} t WHERE t.{of}", "t.created_at, t.id"),
        Part(
            "network_calls",
            f"{{requests}} r CROSS JOIN {{network_calls}} t ON t.request_id = r.id WHERE r.{of}",
            "r.created_at, r.id, t.attempt, t.created_at, t.id",
        ),
        Part(
            "response_streams",
            f"{{requests}} r CROSS JOIN {{response_streams}} t ON t.request_id = r.id WHERE r.{of}",
            "r.created_at, r.id, t.created_at, t.id",
        ),
        Part("response_streams", f"{lone} AND {streams}", "t.created_at, t.id"),
        Part(
            "stream_chunks",
            f"{{requests}} r CROSS JOIN {{response_streams}} s ON s.request_id = r.id {pieces} WHERE r.{of}",
            "r.created_at, r.id, s.id, t.seq",
        ),
        Part(
            "stream_chunks",
            f"{{response_streams}} s {pieces} WHERE s.request_id IS NULL AND {streams}",
            "s.created_at, s.id, t.seq",
        ),
    )


LEDGER = _ledger(
    "chat_id = :chat",
    "s.message_id IN (SELECT m.id FROM {message_threads} h JOIN {messages} m ON m.thread_id = h.id"
    " WHERE h.chat_id = :chat)",
)
#: The same where every stream has a request.
OF_REQUESTS = tuple(part for part in LEDGER if "s.request_id IS NULL" not in part.source)
#: What belongs to no conversation: their chats were deleted, or they never had one.
LEFT = (
    Part("message_threads", "{message_threads} t WHERE t.chat_id IS NULL", "t.created_at, t.id"),
    Part(
        "messages",
        "{messages} t WHERE t.thread_id IN (SELECT id FROM {message_threads} WHERE chat_id IS NULL)",
        "t.thread_id, t.seq, t.id",
    ),
    Part("messages", "{messages} t WHERE t.thread_id IS NULL AND t.chat_id IS NULL", "t.created_at, t.id"),
    Part(
        "message_attachments",
        "{message_attachments} t JOIN {messages} m ON m.id = t.message_id"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL",
        "t.message_id, t.position",
    ),
    Part(
        "tool_invocations",
        "{tool_invocations} t LEFT JOIN {messages} m ON m.id = t.message_id"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL",
        "t.created_at, t.id",
    ),
    Part(
        "rendered_conversation_threads",
        "{rendered_conversation_threads} t LEFT JOIN {message_threads} h ON h.id = t.thread_id WHERE h.chat_id IS NULL",
        "t.created_at, t.id",
    ),
    *_ledger(
        "chat_id IS NULL",
        "(s.message_id IS NULL OR s.message_id IN (SELECT m.id FROM {messages} m"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL))",
    ),
    Part("network_calls", "{network_calls} t WHERE t.request_id IS NULL", "t.created_at, t.id"),
)
#: Sums of other tables: they follow from these by themselves.
DERIVED = ddl.KEPT
SHARED_TABLES = frozenset(part.table for part in SHARED)
