"""Read the rows of a hub in an order that depends only on their content; related rows come together.

First what conversations refer to (connections, agents, tools, jobs, logs, files), each row after those it refers to;
then each conversation with all its rows; last the rows of none. Rows are read lazily.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.stored_values import dumps
from llmctl.core.transfer_records import ExportRow, Kind, TableLayout, TransferHeader
from llmctl.core.values import Value
from llmctl.store.compact import COMPACT_COLUMNS, SINCE_SCHEMA
from llmctl.store.database import Database, Serializer, quote, storage_errors
from llmctl.store.schema import ddl

_COLUMN = re.compile(r"^  ([a-z_]+) [A-Z]", re.MULTILINE)
_TABLE = re.compile(r'^CREATE TABLE "([a-z_]+)"', re.MULTILINE)
#: TEXT columns that usually hold JSON.
_JSON_IN_TEXT = (("messages", "content_raw"),)
#: Totals of other tables, which triggers recompute; parts of HTTP bodies, which are exported whole; and what programs
#: of this machine may do.
NOT_EXPORTED = (*ddl.DERIVED_TABLES, "bodies", "proxy_apps")
#: How the whole value is read of a column that another one may hold in fewer bytes.
_WHOLE = {
    ("response_streams", "raw_output"): "gunzip(coalesce(t.raw_output_gz, t.raw_output))",
    ("network_calls", "body"): """
whole_body(t.body, (SELECT gunzip(coalesce(b.text_gz, b.text)) FROM {bodies} b WHERE b.id = t.shared_body_id))
""".strip(),
}


class HubReader:
    """Reads the selected rows of a hub from one snapshot, however long it takes."""

    def __init__(self, database: Database, chosen: ExportSelection) -> None:
        self._database = database
        self._selection = chosen
        self._layouts = TableLayouts(database)
        self._sql: dict[RowQuery, str | None] = {}
        self._is_compact = database.version >= SINCE_SCHEMA

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the block read a snapshot of the hub, whatever others write in the meantime."""
        if self._database.connection.in_transaction:
            yield
            return
        self._database.connection.execute("BEGIN")
        try:
            yield
        finally:
            self._database.connection.execute("ROLLBACK")

    def header(self) -> TransferHeader:
        return TransferHeader(ddl.VERSION, self._layouts.custom_columns())

    def count(self) -> int:
        """Return the number of messages to read, for a progress bar."""
        sql = "SELECT count(*) FROM {messages}"
        if not self._selection.whole:
            sql += self._selection.fill_slots(" WHERE thread_id IN THREADS")
        return int(self._database.value(sql, self._selection.parameters))

    def rows(self) -> Iterator[ExportRow]:
        """Yield all selected rows, each after those it refers to."""
        for part in SHARED:
            condition = self._selection.condition_for(part.table)
            if condition is not None:
                shared = part.replace(source=part.source.replace("WHICH", condition))
                yield from self._read(shared, self._selection.parameters)
        yield from self._conversations()
        if self._selection.whole:
            for part in UNATTACHED:
                yield from self._read(part, {})

    def chats(self) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Yield each conversation as a record, and the ids of its threads."""
        shape = Serializer(self._database, "chats")
        for chat in self._read(self._chats(), self._selection.parameters):
            row = dict(zip(chat.layout.columns, chat.values, strict=True))
            threads = self._read(THREADS, {**self._selection.parameters, "chat": row["id"]})
            yield shape.to_record(row), [thread.values[0] for thread in threads]

    def _chats(self) -> RowQuery:
        return RowQuery("chats", f"{{chats}} t WHERE {self._selection.condition}", "t.created_at, t.id")

    def _conversations(self) -> Iterator[ExportRow]:
        strays = self._has_rows("{messages} WHERE thread_id IS NULL")
        lone = self._has_rows("{response_streams} WHERE request_id IS NULL")
        of_chat = self._nonempty((*PER_CHAT, STRAY_MESSAGES) if strays else PER_CHAT)
        of_thread, ledger = self._nonempty(PER_THREAD), self._nonempty(LEDGER if lone else LEDGER_OF_REQUESTS)
        for chat in self._read(self._chats(), self._selection.parameters):
            yield chat
            key: dict[str, Any] = {"chat": chat.values[0]}
            threads = list(self._read(THREADS, {**self._selection.parameters, **key}))
            yield from threads
            for part in of_chat:
                yield from self._read(part, key)
            for thread in threads:
                for part in of_thread:
                    yield from self._read(part, {"thread": thread.values[0]})
            for part in ledger:
                yield from self._read(part, key)

    def _nonempty(self, parts: tuple[RowQuery, ...]) -> list[RowQuery]:
        """Return the queries whose table has rows: empty tables need no query per conversation."""
        tables = {part.table for part in parts}
        present = {table for table in tables if self._layouts.find(table) and self._has_rows(f"{{{table}}}")}
        return [part for part in parts if part.table in present]

    def _has_rows(self, source: str) -> bool:
        return bool(self._database.value(f"SELECT 1 FROM {source} LIMIT 1"))

    def _read(self, part: RowQuery, parameters: Any) -> Iterator[ExportRow]:
        layout = self._layouts.find(part.table)
        if layout is None:
            return
        if part not in self._sql:
            self._sql[part] = self._select(part)
        with storage_errors(self._database.path):
            for values in self._database.connection.execute(self._sql[part] or "", parameters):
                yield ExportRow(layout, values)

    def _select(self, part: RowQuery) -> str:
        layout = self._layouts.find(part.table)
        assert layout is not None
        columns = ", ".join(self._column(part.table, name) for name in layout.columns)
        return self._database.sql(f"SELECT {columns} FROM {part.source} ORDER BY {part.order}")

    def _column(self, table: str, name: str) -> str:
        column = f"t.{quote(name)}"
        if (table, name) in _WHOLE and self._is_compact:
            return _WHOLE[table, name]
        if (table, name) == ("message_threads", "parent_id") and not self._selection.whole:
            # The conversation it was forked from may not be selected.
            return self._selection.fill_slots(f"CASE WHEN {column} IN THREADS THEN {column} END")
        if (table, name) == ("chats", "superseded_by") and not self._selection.whole:
            return self._selection.fill_slots(f"CASE WHEN {column} IN CHOSEN THEN {column} END")
        return column


class TableLayouts:
    """Column layouts of a hub's tables: built-in columns in the order of ``schema/``, then custom ones by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._builtin = builtin_columns()
        self._known: dict[str, TableLayout | None] = {}
        self.fields: dict[str, dict[str, str]] = {}

    def find(self, table: str) -> TableLayout | None:
        """Return the layout of a table, or None if this (older) hub has no such table."""
        if table not in self._known:
            self._known[table] = self._read(table)
        return self._known[table]

    def custom_columns(self) -> Mapping[str, Mapping[str, str]]:
        """Return table -> custom column -> declared type, in a fixed order."""
        for table in set(ddl.TABLES) - set(NOT_EXPORTED):
            self.find(table)
        return {table: self.fields[table] for table in sorted(self.fields)}

    def _read(self, table: str) -> TableLayout | None:
        declared = {
            row["name"]: str(row["type"]).upper() for row in self._database.rows(f"PRAGMA table_info({{{table}}})")
        }
        if not declared:
            return None
        own = sorted(name for name in declared if name not in self._builtin[table])
        if own:
            self.fields[table] = {name: declared[name] for name in own}
        builtin = (
            name for name in self._builtin[table] if name in declared and name not in COMPACT_COLUMNS.get(table, ())[1:]
        )
        columns = (*builtin, *own)
        return TableLayout(table, columns, tuple(_kind(table, name, declared[name]) for name in columns))


def builtin_columns() -> dict[str, tuple[str, ...]]:
    """Return the columns of each table in the order of ``schema/``."""
    result = {}
    for statement in ddl.load_statements():
        table = _TABLE.search(statement)
        if table:
            result[table[1]] = tuple(_COLUMN.findall(statement))
    return result


def _kind(table: str, name: str, declared: str) -> Kind:
    if declared.startswith("JSON") or (table, name) in _JSON_IN_TEXT:
        return "json"
    return "boolean" if declared.startswith("BOOL") else "value"


class RowQuery(Value):
    """A query of rows of one table ``t``: what follows FROM, and the order."""

    table: str
    source: str
    order: str


#: Rows outside of conversations. ``WHICH`` is replaced by the condition of the selection.
SHARED = (
    RowQuery("user_settings", "{user_settings} t WHERE (WHICH)", "t.id"),
    RowQuery("model_connections", "{model_connections} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("model_prices", "{model_prices} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("model_aliases", "{model_aliases} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("tools", "{tools} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("agents", "{agents} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("agent_tool_connections", "{agent_tool_connections} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("permission_rules", "{permission_rules} t WHERE (WHICH) AND t.chat_id IS NULL", "t.created_at, t.id"),
    RowQuery("text_logs", "{text_logs} t WHERE (WHICH) AND t.series_id IS NULL", "t.id"),
    RowQuery("text_logs", "{text_logs} t WHERE (WHICH) AND t.series_id IS NOT NULL", "t.series_id, t.position"),
    RowQuery("jobs", "{jobs} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("provider_batches", "{provider_batches} t WHERE (WHICH)", "t.created_at, t.id"),
    RowQuery("attachments", "{attachments} t WHERE (WHICH)", "t.id"),
    RowQuery("metrics", "{metrics} t WHERE (WHICH)", "t.id"),
)

#: Rows of a chat besides its threads.
PER_CHAT = (
    RowQuery("agent_sessions", "{agent_sessions} t WHERE t.chat_id = :chat", "t.id"),
    RowQuery("permission_rules", "{permission_rules} t WHERE t.chat_id = :chat", "t.created_at, t.id"),
)
THREADS = RowQuery("message_threads", "{message_threads} t WHERE t.chat_id = :chat", "t.created_at, t.id")
STRAY_MESSAGES = RowQuery(
    "messages", "{messages} t WHERE t.chat_id = :chat AND t.thread_id IS NULL", "t.created_at, t.id"
)
PER_THREAD = (
    RowQuery("messages", "{messages} t WHERE t.thread_id = :thread", "t.seq, t.id"),
    RowQuery(
        "message_attachments",
        "{messages} m CROSS JOIN {message_attachments} t ON t.message_id = m.id WHERE m.thread_id = :thread",
        "m.seq, t.position, t.id",
    ),
    RowQuery(
        "tool_invocations",
        "{messages} m CROSS JOIN {tool_invocations} t ON t.message_id = m.id WHERE m.thread_id = :thread",
        "m.seq, t.created_at, t.id",
    ),
    RowQuery(
        "rendered_conversation_threads",
        "{rendered_conversation_threads} t WHERE t.thread_id = :thread",
        "t.created_at, t.id",
    ),
)


def _ledger(of: str, streams: str) -> tuple[RowQuery, ...]:
    """Return the queries of the ledger: for requests that match ``of``, and streams ``s`` without a request."""
    lone = "{response_streams} s CROSS JOIN {response_streams} t ON t.id = s.id WHERE s.request_id IS NULL"
    pieces = "CROSS JOIN {stream_chunks} t ON t.stream_id = s.id"
    return (
        RowQuery("requests", f"{{requests}} t WHERE t.{of}", "t.created_at, t.id"),
        RowQuery(
            "network_calls",
            f"{{requests}} r CROSS JOIN {{network_calls}} t ON t.request_id = r.id WHERE r.{of}",
            "r.created_at, r.id, t.attempt, t.created_at, t.id",
        ),
        RowQuery(
            "response_streams",
            f"{{requests}} r CROSS JOIN {{response_streams}} t ON t.request_id = r.id WHERE r.{of}",
            "r.created_at, r.id, t.created_at, t.id",
        ),
        RowQuery("response_streams", f"{lone} AND {streams}", "t.created_at, t.id"),
        RowQuery(
            "stream_chunks",
            f"{{requests}} r CROSS JOIN {{response_streams}} s ON s.request_id = r.id {pieces} WHERE r.{of}",
            "r.created_at, r.id, s.id, t.seq",
        ),
        RowQuery(
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
#: The same if every stream has a request.
LEDGER_OF_REQUESTS = tuple(part for part in LEDGER if "s.request_id IS NULL" not in part.source)
SHARED_TABLES = frozenset(part.table for part in SHARED)
#: Rows of no conversation: their chat was deleted, or they never had one.
UNATTACHED = (
    RowQuery("message_threads", "{message_threads} t WHERE t.chat_id IS NULL", "t.created_at, t.id"),
    RowQuery(
        "messages",
        "{messages} t WHERE t.thread_id IN (SELECT id FROM {message_threads} WHERE chat_id IS NULL)",
        "t.thread_id, t.seq, t.id",
    ),
    RowQuery("messages", "{messages} t WHERE t.thread_id IS NULL AND t.chat_id IS NULL", "t.created_at, t.id"),
    RowQuery(
        "message_attachments",
        "{message_attachments} t JOIN {messages} m ON m.id = t.message_id"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL",
        "t.message_id, t.position",
    ),
    RowQuery(
        "tool_invocations",
        "{tool_invocations} t LEFT JOIN {messages} m ON m.id = t.message_id"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL",
        "t.created_at, t.id",
    ),
    RowQuery(
        "rendered_conversation_threads",
        "{rendered_conversation_threads} t LEFT JOIN {message_threads} h ON h.id = t.thread_id WHERE h.chat_id IS NULL",
        "t.created_at, t.id",
    ),
    *_ledger(
        "chat_id IS NULL",
        "(s.message_id IS NULL OR s.message_id IN (SELECT m.id FROM {messages} m"
        " LEFT JOIN {message_threads} h ON h.id = m.thread_id WHERE h.chat_id IS NULL))",
    ),
    RowQuery("network_calls", "{network_calls} t WHERE t.request_id IS NULL", "t.created_at, t.id"),
    RowQuery("map_items", "{map_items} t", "t.job_id, t.position"),
)


# --- selection


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
