"""Taking the bulk out of a hub that has grown: text of old streams, HTTP bodies, logs. The ledger's numbers stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llmctl.core import clock
from llmctl.store.database import Database

#: Rows of one transaction: other writers get their turn in between.
BATCH = 500


class _Kind(NamedTuple):
    """``where`` finds what is old and finished, ``change`` takes it away, ``size`` is what a row frees in bytes."""

    table: str
    where: str
    size: str
    change: str


_OLD = "created_at < :before"
KINDS = {
    "streams": _Kind(
        "response_streams",
        f"{_OLD} AND status <> 'pending'",
        "coalesce(length(raw_output), 0) + length(result_messages) + length(timeline)",
        "DELETE FROM {response_streams}",
    ),
    "http": _Kind(
        "network_calls",
        f"{_OLD} AND status <> 'pending'"
        " AND (body IS NOT NULL OR response IS NOT NULL OR response_headers IS NOT NULL)",
        "coalesce(length(body), 0) + coalesce(length(response), 0) + coalesce(length(response_headers), 0)"
        " + length(request_headers)",
        "UPDATE {network_calls} SET body = NULL, response = NULL, request_headers = '{}', response_headers = NULL,"
        " updated_at = :now",
    ),
    "logs": _Kind(
        "text_logs",
        f"{_OLD} AND series_id IS NULL AND id NOT IN"
        " (SELECT text_log_id FROM {jobs} WHERE status IN ('pending', 'running') AND text_log_id IS NOT NULL)"
        " AND id NOT IN (SELECT text_log_id FROM {tool_invocations}"
        " WHERE status IN ('pending', 'running') AND text_log_id IS NOT NULL)",
        "length(text)"
        " + (SELECT coalesce(sum(length(s.text)), 0) FROM {text_logs} s WHERE s.series_id = {text_logs}.id)",
        "DELETE FROM {text_logs}",
    ),
    "renders": _Kind(
        "rendered_conversation_threads", _OLD, "length(messages)", "DELETE FROM {rendered_conversation_threads}"
    ),
    "metrics": _Kind("metrics", _OLD, "length(name) + length(dimensions) + 8", "DELETE FROM {metrics}"),
    "attachments": _Kind(
        "attachments",
        f"{_OLD} AND id NOT IN (SELECT attachment_id FROM {{message_attachments}})",
        "size",
        "DELETE FROM {attachments}",
    ),
    "jobs": _Kind(
        "jobs",
        f"{_OLD} AND status NOT IN ('pending', 'running')",
        "length(name) + length(payload) + coalesce(length(result), 0) + coalesce(length(error), 0)",
        "DELETE FROM {jobs}",
    ),
}


class Pruned(NamedTuple):
    """What was, or would be, taken away of a kind; bytes are those of the text."""

    kind: str
    rows: int
    bytes: int


def count(database: Database, kind: str, before: str) -> Pruned:
    """Return what there is of a kind from before a stored time."""
    own = KINDS[kind]
    row = database.one(
        f"SELECT count(*) AS rows, coalesce(sum({own.size}), 0) AS bytes FROM {{{own.table}}} WHERE {own.where}",
        {"before": before},
    )
    return Pruned(kind, row["rows"], row["bytes"]) if row else Pruned(kind, 0, 0)


def prune(database: Database, kind: str, before: str) -> Iterator[int]:
    """Take a kind's old text away, batch by batch, each committed; yield the rows of each batch."""
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


def old_chats(database: Database, before: str) -> list[str]:
    """Return the chats that nothing was said in since a stored time, oldest first."""
    rows = database.query(
        "SELECT id FROM {chats} WHERE coalesce(last_turn_at, updated_at) < :before"
        " AND NOT EXISTS (SELECT 1 FROM {messages} m WHERE m.chat_id = {chats}.id AND m.created_at >= :before)"
        " ORDER BY created_at",
        {"before": before},
    )
    return [row["id"] for row in rows]
