"""Select conversations, and the other rows that belong to them, as SQL conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.stored_json import dumps

_AGENTS = """
id IN (SELECT source_id FROM {chats} WHERE id IN CHOSEN)
OR name IN (SELECT agent_class FROM {agent_sessions} WHERE chat_id IN CHOSEN)
OR name IN (SELECT agent FROM {requests} WHERE chat_id IN CHOSEN)
"""
_AGENT_IDS = f"(SELECT id FROM {{agents}} WHERE {_AGENTS})"
_JOBS = """
id IN (
  WITH RECURSIVE own (id) AS (
    SELECT locking_job_id FROM {message_threads} WHERE chat_id IN CHOSEN
    UNION SELECT job_id FROM {messages} WHERE thread_id IN THREADS
    UNION SELECT job_id FROM {requests} WHERE chat_id IN CHOSEN
    UNION SELECT i.job_id FROM {tool_invocations} i JOIN {messages} m ON m.id = i.message_id
    WHERE m.thread_id IN THREADS
    UNION SELECT n.job_id FROM {network_calls} n JOIN {requests} r ON r.id = n.request_id WHERE r.chat_id IN CHOSEN
    UNION SELECT j.parent_id FROM {jobs} j JOIN own ON own.id = j.id
  ) SELECT id FROM own
)
"""
_LOGS = f"""
(SELECT text_log_id FROM {{jobs}} WHERE {_JOBS}
UNION SELECT i.text_log_id FROM {{tool_invocations}} i JOIN {{messages}} m ON m.id = i.message_id
WHERE m.thread_id IN THREADS)
"""

#: Table -> condition of the rows that belong to selected conversations; other tables are for whole hubs only.
_RELATED: Mapping[str, str] = {
    "model_connections": f"""
id IN (SELECT source_id FROM {{chats}} WHERE id IN CHOSEN)
OR id IN (SELECT chat_model_id FROM {{agents}} WHERE {_AGENTS})
OR name IN (SELECT connection FROM {{requests}} WHERE chat_id IN CHOSEN)
OR id IN (SELECT source_id FROM {{messages}} WHERE thread_id IN THREADS)
""",
    "model_prices": "id IN (SELECT price_id FROM {requests} WHERE chat_id IN CHOSEN)",
    "agents": _AGENTS,
    "agent_tool_connections": f"agent_id IN {_AGENT_IDS}",
    "tools": f"""
id IN (SELECT tool_id FROM {{agent_tool_connections}} WHERE agent_id IN {_AGENT_IDS})
OR id IN (SELECT tool_id FROM {{permission_rules}} WHERE chat_id IN CHOSEN OR agent_id IN {_AGENT_IDS})
OR id IN (
  SELECT i.tool_id FROM {{tool_invocations}} i JOIN {{messages}} m ON m.id = i.message_id WHERE m.thread_id IN THREADS
)
""",
    "permission_rules": f"agent_id IN {_AGENT_IDS}",
    "jobs": _JOBS,
    "text_logs": f"(id IN {_LOGS} OR series_id IN {_LOGS})",
    "attachments": """
id IN (
  SELECT a.attachment_id FROM {message_attachments} a JOIN {messages} m ON m.id = a.message_id
  WHERE m.thread_id IN THREADS
)
""",
}
_THREADS = "(SELECT id FROM {message_threads} WHERE chat_id IN CHOSEN)"


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """Selected conversations; with ``whole`` everything else of the hub, too."""

    condition: str = "1"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False

    def condition_for(self, table: str) -> str | None:
        """Return the condition for rows of a table outside of conversations; None to leave the table out."""
        return "1" if self.whole else self.fill_slots(_RELATED[table]) if table in _RELATED else None

    def fill_slots(self, sql: str) -> str:
        """Return SQL with ``CHOSEN`` (ids of the chats) and ``THREADS`` (ids of their threads) filled in."""
        chosen = f"(SELECT id FROM {{chats}} WHERE {self.condition})"
        return sql.replace("THREADS", _THREADS).replace("CHOSEN", chosen)


def select_all() -> ExportSelection:
    """Select everything."""
    return ExportSelection(whole=True)


def select_chats(ids: Sequence[str] | None, since: str | None) -> ExportSelection:
    """Select conversations with these ids (None: any) that changed since a stored time."""
    conditions = ["id IN (SELECT value FROM json_each(:chosen_ids))"] if ids is not None else []
    if since is not None:
        conditions.append("max(coalesce(last_turn_at, created_at), updated_at) >= :chosen_since")
    parameters: dict[str, Any] = {"chosen_ids": dumps(list(ids))} if ids is not None else {}
    if since is not None:
        parameters["chosen_since"] = since
    return ExportSelection(" AND ".join(conditions) or "1", parameters)
