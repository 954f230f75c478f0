"""Merge rows of another hub: existing rows are updated if the imported one is newer; conflicts are resolved."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.transfer_records import ImportRow, MergeResult
from llmctl.core.values import Value
from llmctl.store.compact import COMPACT_COLUMNS
from llmctl.store.database import Database, Row, quote, to_storable_row
from llmctl.store.schema import ddl
from llmctl.store.transfer.column_types import ColumnTypes
from llmctl.store.transfer.read import NOT_EXPORTED, TableLayouts

#: Python's errors for values that SQLite cannot store.
_UNSTORABLE = (OverflowError, UnicodeError)

#: Columns that never change in a finished message.
_FROZEN = ("role", "content", "content_raw", "reasoning", "thinking_text", "thinking_signature")
#: Maximum number of conflicts resolved per row.
MAX_CONFLICTS = 8
#: A changed row to insert; or a text: why the row is skipped, empty if it is here already.
Resolution = Mapping[str, Any] | str
#: Columns that make two rows with the same name equal.
_IDENTITY_COLUMNS = {
    "model_connections": ("provider", "model_id", "type", "data"),
    "model_aliases": ("target", "options"),
    "tools": ("type", "schema", "data"),
    "agents": ("instructions", "options"),
}


class Merger:
    """Merges records into a hub, within the caller's transaction. References to missing rows are dropped."""

    def __init__(self, database: Database, settle: Callable[[], None] = lambda: None) -> None:
        """``settle`` is called before changing a row that may have just been inserted: see :mod:`.bulk_insert`."""
        self.database = database
        self._flush = settle
        self._is_flushed = True
        self.foreign_keys = ForeignKeyResolver(database)
        self._layouts = TableLayouts(database)
        self._statements: dict[str, _Statements | None] = {}
        #: The hub is unused: its initial rows may be replaced.
        self.is_fresh = is_fresh(database)

    def merge_record(self, record: ImportRow) -> MergeResult:
        """Merge a record; problems of the record are returned, not raised."""
        statements = self._statements_for(record.table)
        if statements is None:
            return MergeResult("skipped", f'no table "{record.table}"')
        problem = statements.types.find_problem(record.row)
        if problem is not None:
            return MergeResult("skipped", f"{record.table}: {problem}")
        refusal = reject(self, record.table, record.row)
        if refusal is not None:
            return refusal
        row = self.foreign_keys.translate_ids(record.table, record.row)
        if record.table in COMPACT_COLUMNS:
            row = self._compact(record.table, row)
        try:
            try:
                outcome = self._write(record.table, statements, row)
            except UnicodeEncodeError:
                outcome = self._write(record.table, statements, to_storable_row(row))
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, *_UNSTORABLE) as error:
            return MergeResult("skipped", f"{record.table}: {error}")
        if outcome.status == "updated":
            after_update(self.database, record.table, row)
        elif outcome.status == "unchanged":
            self.foreign_keys.defer_own(record.table, row)
        if outcome.reason is None and not statements.known.issuperset(record.row):
            unknown = sorted(record.row.keys() - statements.known)
            return outcome.replace(reason=f"{record.table}: no column {', '.join(unknown)}")
        return outcome

    def _compact(self, table: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row as it is stored; what the file says of columns that only storage has is left out."""
        _, compact = COMPACT_COLUMNS[table]
        return self.database.compact(table, {name: value for name, value in row.items() if name != compact})

    def finish(self) -> int:
        """Set references to rows that were imported later; return the number of those dropped."""
        return self.foreign_keys.resolve_deferred()

    def _write(self, table: str, statements: _Statements, row: Mapping[str, Any]) -> MergeResult:
        values = dict(row)
        for _ in range(MAX_CONFLICTS):
            try:
                return self._insert_or_update(statements, values)
            except sqlite3.IntegrityError as error:
                if "FOREIGN KEY" in str(error):
                    missing = self.foreign_keys.drop_missing_keys(table, values)
                    if missing is not None:
                        return MergeResult("skipped", missing)
                elif "UNIQUE" in str(error):
                    solution = resolve_conflict(self, table, values)
                    if isinstance(solution, str):
                        return MergeResult("unchanged") if not solution else MergeResult("skipped", solution)
                    values = dict(solution)
                else:
                    raise
        return MergeResult("skipped", f"{table}: too many conflicts")

    def _insert_or_update(self, statements: _Statements, row: Mapping[str, Any]) -> MergeResult:
        execute = self.database.connection.execute
        values = list(map(row.get, statements.columns))
        if execute(statements.insert, values).rowcount:
            self._is_flushed = False
            return MergeResult("imported")
        if statements.update is None:
            return MergeResult("unchanged")
        if not self._is_flushed:
            self._flush()
            self._is_flushed = True
        if not execute(statements.update, values).rowcount:
            return MergeResult("unchanged")
        return MergeResult("updated")

    def _statements_for(self, table: str) -> _Statements | None:
        if table not in self._statements:
            known = table in ddl.TABLES and table not in NOT_EXPORTED
            self._statements[table] = _Statements(self.database, self._layouts, table) if known else None
        return self._statements[table]


def is_fresh(database: Database) -> bool:
    """Return whether the hub is unused."""
    return not any(database.value(f"SELECT 1 FROM {{{table}}} LIMIT 1") for table in ("chats", "requests", "agents"))


class _Statements:
    """The statements for rows of one table. Missing columns get NULL, or the column's default."""

    def __init__(self, database: Database, layouts: TableLayouts, table: str) -> None:
        layout = layouts.find(table)
        assert layout is not None
        #: Those of an imported row, and one that holds another in fewer bytes.
        self.known = frozenset(layout.columns)
        self.columns = layout.columns + COMPACT_COLUMNS.get(table, ())[1:]
        info = {row["name"]: row for row in database.rows(f"PRAGMA table_info({{{table}}})")}
        self.types = ColumnTypes(info.values())
        marks = [_placeholder(info[name], place) for place, name in enumerate(self.columns, 1)]
        name = quote(database.names.get(table, table))
        listed = ", ".join(map(quote, self.columns))
        into = f"INSERT INTO {name} ({listed}) VALUES ({', '.join(marks)})"
        has_id = "id" in info
        self.insert = f"{into} ON CONFLICT {'(id) ' if has_id else ''}DO NOTHING"
        self.update = self._update(name, marks, table) if has_id else None

    def _update(self, name: str, marks: list[str], table: str) -> str:
        places = dict(zip(self.columns, marks, strict=True))
        # A row without updated_at is never newer.
        time = f"?{self.columns.index('updated_at') + 1}"
        changes = ", ".join(
            f"{quote(column)} = {_frozen_value(column, mark) if table == 'messages' else mark}"
            for column, mark in places.items()
            if column != "id"
        )
        return f"UPDATE {name} SET {changes} WHERE id = {places['id']} AND updated_at < {time}"


def _placeholder(column: Mapping[str, Any], place: int) -> str:
    if column["notnull"] and column["dflt_value"] is not None:
        return f"coalesce(?{place}, {column['dflt_value']})"
    return f"?{place}"


def _frozen_value(column: str, mark: str) -> str:
    if column in _FROZEN:
        return f"CASE status WHEN 'pending' THEN {mark} ELSE {quote(column)} END"
    return mark


def find_row(database: Database, table: str, id: Any) -> Row | None:
    """Return the row of this hub with an id, or None."""
    if table not in ddl.TABLES or not isinstance(id, str):
        return None
    return database.one(f"SELECT * FROM {{{table}}} WHERE id = ?", (id,))


def resolve_conflict(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    """Return the row changed so that it has no unique-key conflict, or why it is skipped."""
    solver = _RESOLVERS.get(table)
    return solver(merger, table, row) if solver else f"{table}: already exists under another id"


def _resolve_name(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    """Names are unique: an equal row under another id is the same row, a different one gets a numbered name."""
    existing = merger.database.one(f"SELECT * FROM {{{table}}} WHERE name = ?", (row["name"],))
    if existing is None:
        return f"{table}: already exists under another id"
    if existing["id"] != row["id"] and _is_equivalent(table, existing, row):
        if merger.is_fresh and existing["created_at"] == existing["updated_at"] and table == "model_connections":
            _delete_row(merger.database, table, existing["id"])
            return row
        merger.foreign_keys.alias_id(row["id"], existing["id"])
        return ""
    return {**row, "name": _free_name(merger.database, table, row["name"], row["id"])}


def _resolve_chat_name(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    return {**row, "name": _free_name(merger.database, table, row["name"], row["id"])}


def _resolve_attachment(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    existing = merger.database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (row["content_hash"],))
    merger.foreign_keys.alias_id(row["id"], existing)
    return ""


def _resolve_message_seq(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    """A conversation continued in two hubs: imported messages are appended."""
    last = merger.database.value("SELECT max(seq) FROM {messages} WHERE thread_id = ?", (row["thread_id"],))
    return {**row, "seq": last + 1}


def _resolve_log_position(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    last = merger.database.value("SELECT max(position) FROM {text_logs} WHERE series_id = ?", (row["series_id"],))
    return {**row, "position": last + 1}


def _keep_existing(merger: Merger, table: str, row: Mapping[str, Any]) -> Resolution:
    return ""


_RESOLVERS: Mapping[str, Callable[[Merger, str, Mapping[str, Any]], Resolution]] = {
    "model_connections": _resolve_name,
    "model_aliases": _resolve_name,
    "tools": _resolve_name,
    "agents": _resolve_name,
    "chats": _resolve_chat_name,
    "attachments": _resolve_attachment,
    "messages": _resolve_message_seq,
    "text_logs": _resolve_log_position,
    "agent_tool_connections": _keep_existing,
    "message_attachments": _keep_existing,
    "agent_sessions": _keep_existing,
    "tool_invocations": _keep_existing,
}


def _is_equivalent(table: str, existing: Row, imported: Mapping[str, Any]) -> bool:
    return all(existing[name] == imported.get(name) for name in _IDENTITY_COLUMNS[table])


def _delete_row(database: Database, table: str, id: str) -> None:
    database.execute(f"DELETE FROM {{{table}}} WHERE id = ?", (id,))


def _free_name(database: Database, table: str, name: str, id: str) -> str:
    number = 2
    sql = f"SELECT 1 FROM {{{table}}} WHERE name = ? AND id <> ?"
    while database.value(sql, (f"{name}-{number}", id)):
        number += 1
    return f"{name}-{number}"


def reject(merger: Merger, table: str, row: Mapping[str, Any]) -> MergeResult | None:
    """Return the result of a row that must not be imported, or None."""
    if table == "user_settings":
        return _reject_settings(merger, row)
    if table == "stream_chunks":
        return _reject_chunk(merger.database, row)
    return None


def after_update(database: Database, table: str, row: Mapping[str, Any]) -> None:
    """Delete rows that an updated row makes obsolete."""
    if table == "response_streams" and row.get("status") != "pending":
        database.execute("DELETE FROM {stream_chunks} WHERE stream_id = ?", (row["id"],))


def _reject_settings(merger: Merger, row: Mapping[str, Any]) -> MergeResult | None:
    """There is one row of settings: it is imported only if those of this hub were never changed."""
    existing = merger.database.one("SELECT id, created_at = updated_at AS untouched FROM {user_settings}")
    if existing is None or existing["id"] == row.get("id"):
        return None
    if merger.is_fresh and existing["untouched"]:
        merger.database.execute("DELETE FROM {user_settings}")
        return None
    return MergeResult("skipped", "user_settings: this hub has its own settings")


def _reject_chunk(database: Database, row: Mapping[str, Any]) -> MergeResult | None:
    sql = (
        "SELECT 1 FROM {response_streams} WHERE id = ? AND status <> 'pending'"
        " AND coalesce(raw_output, raw_output_gz) IS NOT NULL"
    )
    return MergeResult("unchanged") if database.value(sql, (row.get("stream_id"),)) else None


# --- foreign keys


#: Id of a connection, an agent or a tool invocation; not declared as a foreign key.
_SOURCE_COLUMN = "source_id"
#: References that can wait for their row. An ordered file needs a few; the limit is for any other.
_MAX_DEFERRED = 100_000


class ForeignKeyColumn(Value):
    """A foreign key: column, referenced table, and whether a row without it must be skipped."""

    column: str
    table: str
    needed: bool


class DeferredKey(Value):
    """A reference set to NULL because its row is missing so far."""

    table: str
    id: str
    key: ForeignKeyColumn
    target: str


class ForeignKeyResolver:
    """Resolves the foreign keys of rows imported into one hub."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, list[ForeignKeyColumn]] = {}
        self._aliases: dict[str, str] = {}
        self._deferred: list[DeferredKey] = []
        self._lost_count = 0

    def alias_id(self, imported_id: str, existing_id: str) -> None:
        """Record that an imported row is an existing one with another id."""
        self._aliases[imported_id] = existing_id

    def translate_ids(self, table: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row with aliased ids replaced."""
        if not self._aliases:
            return row
        result = dict(row)
        for column in (*(key.column for key in self._keys_for(table)), _SOURCE_COLUMN):
            if result.get(column) in self._aliases:
                result[column] = self._aliases[result[column]]
        refs = result.get("refs")
        if isinstance(refs, str) and refs != "{}":
            for imported_id, existing_id in self._aliases.items():
                refs = refs.replace(imported_id, existing_id)
            result["refs"] = refs
        return result

    def drop_missing_keys(self, table: str, row: dict[str, Any]) -> str | None:
        """Set references to missing rows to NULL; return the reason if the row must be skipped instead."""
        for key in self._keys_for(table):
            target = row.get(key.column)
            if target is None or self._exists(key.table, target):
                continue
            if key.needed:
                return f'{table}: its {key.column} "{target}" does not exist'
            row[key.column] = None
            self._defer(DeferredKey(table, str(row.get("id")), key, target))
        return None

    def defer_own(self, table: str, row: Mapping[str, Any]) -> None:
        """Set later what a row refers to in its own table: an import that was killed may not have come so far."""
        for key in self._keys_for(table):
            if key.table == table and row.get(key.column) is not None:
                self._defer(DeferredKey(table, str(row.get("id")), key, row[key.column]))

    def resolve_deferred(self) -> int:
        """Set references whose row was imported later; return the number of those that stay NULL."""
        lost = self._lost_count
        for waiting in self._deferred:
            if not self._exists(waiting.key.table, waiting.target):
                lost += 1
                continue
            column = quote(waiting.key.column)
            self._database.execute(
                f"UPDATE {{{waiting.table}}} SET {column} = ? WHERE id = ? AND {column} IS NULL",
                (waiting.target, waiting.id),
            )
        self._deferred.clear()
        return lost

    def _defer(self, waiting: DeferredKey) -> None:
        if len(self._deferred) < _MAX_DEFERRED:
            self._deferred.append(waiting)
        else:
            self._lost_count += 1

    def _exists(self, table: str, id: Any) -> bool:
        return bool(self._database.value(f"SELECT 1 FROM {{{table}}} WHERE id = ?", (id,)))

    def _keys_for(self, table: str) -> list[ForeignKeyColumn]:
        if table not in self._keys:
            logical = {physical: name for name, physical in self._database.names.items()}
            rows = self._database.query(f"PRAGMA foreign_key_list({{{table}}})")
            self._keys[table] = [
                ForeignKeyColumn(
                    row["from"], logical.get(row["table"]) or str(row["table"]), row["on_delete"] == "CASCADE"
                )
                for row in rows
            ]
        return self._keys[table]
