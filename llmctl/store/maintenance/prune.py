"""Delete bulky old data: streams, HTTP bodies, logs. The numbers of the ledger stay."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core import clock
from llmctl.core.values import Value
from llmctl.store.compact import SINCE_SCHEMA
from llmctl.store.database import Database

#: Rows per transaction; other writers get their turn in between.
BATCH = 500


class _PruneKind(Value):
    """``where`` matches old, finished rows, ``change`` prunes them, ``size`` is the bytes a row frees."""

    table: str
    where: str
    size: str
    change: str


_OLD = "created_at < :before"
KINDS = {
    "streams": _PruneKind(
        "response_streams",
        f"{_OLD} AND status <> 'pending'",
        "coalesce(length(raw_output), 0) + length(result_messages) + length(timeline)",
        "DELETE FROM {response_streams}",
    ),
    "http": _PruneKind(
        "network_calls",
        f"{_OLD} AND status <> 'pending'"
        " AND (body IS NOT NULL OR response IS NOT NULL OR response_headers IS NOT NULL)",
        "coalesce(length(body), 0) + coalesce(length(response), 0) + coalesce(length(response_headers), 0)"
        " + length(request_headers)",
        "UPDATE {network_calls} SET body = NULL, shared_body_id = NULL, response = NULL, request_headers = '{}',"
        " response_headers = NULL, updated_at = :now",
    ),
    "logs": _PruneKind(
        "text_logs",
        f"{_OLD} AND series_id IS NULL AND id NOT IN"
        " (SELECT text_log_id FROM {jobs} WHERE status IN ('pending', 'running') AND text_log_id IS NOT NULL)"
        " AND id NOT IN (SELECT text_log_id FROM {tool_invocations}"
        " WHERE status IN ('pending', 'running') AND text_log_id IS NOT NULL)",
        "length(text)"
        " + (SELECT coalesce(sum(length(s.text)), 0) FROM {text_logs} s WHERE s.series_id = {text_logs}.id)",
        "DELETE FROM {text_logs}",
    ),
    "renders": _PruneKind(
        "rendered_conversation_threads", _OLD, "length(messages)", "DELETE FROM {rendered_conversation_threads}"
    ),
    "metrics": _PruneKind("metrics", _OLD, "length(name) + length(dimensions) + 8", "DELETE FROM {metrics}"),
    "attachments": _PruneKind(
        "attachments",
        f"{_OLD} AND id NOT IN (SELECT attachment_id FROM {{message_attachments}})",
        "size",
        "DELETE FROM {attachments}",
    ),
    "jobs": _PruneKind(
        "jobs",
        f"{_OLD} AND status NOT IN ('pending', 'running')",
        "length(name) + length(payload) + coalesce(length(result), 0) + coalesce(length(error), 0)",
        "DELETE FROM {jobs}",
    ),
}


class PruneCount(Value):
    """Rows and bytes of text of a kind that were or would be pruned."""

    kind: str
    rows: int
    bytes: int


def count_old(database: Database, kind: str, before: str) -> PruneCount:
    """Count the rows of a kind from before a stored time."""
    own = KINDS[kind]
    size = own.size
    if kind == "streams" and database.version >= SINCE_SCHEMA:
        size += " + coalesce(length(raw_output_gz), 0)"
    row = database.one(
        f"SELECT count(*) AS rows, coalesce(sum({size}), 0) AS bytes FROM {{{own.table}}} WHERE {own.where}",
        {"before": before},
    )
    return PruneCount(kind, row["rows"], row["bytes"]) if row else PruneCount(kind, 0, 0)


def prune_kind(database: Database, kind: str, before: str) -> Iterator[int]:
    """Prune a kind in committed batches; yield the number of rows of each batch."""
    own = KINDS[kind]
    values = {"before": before, "now": clock.now()}
    batch = f"SELECT rowid FROM {{{own.table}}} WHERE {own.where} ORDER BY rowid LIMIT {BATCH}"
    while True:
        with database.transaction():
            changed = database.execute(f"{own.change} WHERE rowid IN ({batch})", values)
        if changed:
            yield changed
        if changed < BATCH:
            return


def list_old_chats(database: Database, before: str) -> list[str]:
    """Return the ids of chats without messages since a stored time, oldest first."""
    rows = database.query(
        "SELECT id FROM {chats} WHERE coalesce(last_turn_at, updated_at) < :before"
        " AND NOT EXISTS (SELECT 1 FROM {messages} m WHERE m.chat_id = {chats}.id AND m.created_at >= :before)"
        " ORDER BY created_at",
        {"before": before},
    )
    return [row["id"] for row in rows]
