"""Detect the tables of ``@node-llm/orm``, in any version and under any names, and convert their rows and values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps, loads
from llmctl.store.database import quote
from llmctl.store.schema.custom_names import to_snake_case

#: Unix times below this are seconds, not milliseconds: it is the year 5138 in seconds, March 1973 in milliseconds.
_SECONDS_BELOW = 100_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REQUIRED = frozenset(("role", "name", "arguments", "provider", "model", "agent_class", "tool_call_id"))
_MISSING_CHAT_NOTE = "its row was missing when this database was adopted"


def parse_time(value: Any) -> str | None:
    """Return an ISO time in any form, or a Unix time in milliseconds or seconds, as stored text; None if invalid."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        value = int(value)
    try:
        if isinstance(value, int | float):
            unit = "seconds" if abs(value) < _SECONDS_BELOW else "milliseconds"
            return clock.format(_EPOCH + timedelta(**{unit: value}))
        return clock.format(clock.parse(value.strip())) if value else None
    except (ValueError, OverflowError, OSError):
        return None


def normalize_json(value: Any) -> str | None:
    """Return a JSON object or array as text; a scalar, or invalid JSON, as ``{"value": ...}``."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    result = value
    for _ in range(2):  # some values were encoded twice
        if isinstance(result, str):
            try:
                result = loads(result)
            except ValueError:
                break
    if result is None:
        return None
    return dumps(result if isinstance(result, dict | list) else {"value": result})


def register_functions(connection: sqlite3.Connection) -> None:
    """Register the conversions as SQL functions."""
    connection.create_function("llmctl_time", 1, parse_time, deterministic=True)
    connection.create_function("llmctl_json", 1, normalize_json, deterministic=True)


def count_unreadable_times(connection: sqlite3.Connection, source: SourceTable, old: str) -> int:
    """Return the number of rows with an unreadable time."""
    created = quote(source.columns["created_at"])
    sql = f"SELECT count(*) FROM {quote(old)} WHERE llmctl_time({created}) IS NULL"
    return int(connection.execute(sql).fetchone()[0])


def copy_rows(
    connection: sqlite3.Connection,
    source: SourceTable,
    old: str,
    new: str,
    names: Mapping[str, str],
    extras: Mapping[str, str],
) -> None:
    """Fill the table ``new`` from ``old``; triggers give messages their thread, position and time.

    ``names`` are the names of the new tables, ``extras`` the custom columns: name -> SQL of the value.
    """
    columns = {column: _expression(source.logical, column, theirs) for column, theirs in source.columns.items()}
    columns |= _times(source, old)
    if source.logical == "tool_invocations":
        columns |= _call_ids(source)
    if "message_id" in source.columns:
        columns |= _message_or_reference(quote(source.columns["message_id"]), quote(names["messages"]))
    columns |= extras
    targets = ", ".join(map(quote, columns))
    connection.execute(
        f"INSERT INTO {quote(new)} ({targets}) SELECT {', '.join(columns.values())} FROM {quote(old)}"
        f" ORDER BY {_order(source)}"
    )


def create_missing_chats(connection: sqlite3.Connection, pairs: Iterable[tuple[SourceTable, str]], chats: str) -> int:
    """Add a chat for each missing chat that rows refer to; return their number."""
    pointing = " UNION ALL ".join(
        f"SELECT CAST({quote(source.columns['chat_id'])} AS TEXT) AS chat,"
        f" {_times(source, old)['created_at']} AS at FROM {quote(old)}"
        for source, old in pairs
        if "chat_id" in source.columns
    )
    made = connection.execute(
        f"INSERT INTO {quote(chats)} (id, description, created_at, updated_at)"
        f" SELECT chat, ?, min(at), max(at) FROM ({pointing})"
        f" WHERE chat IS NOT NULL AND chat NOT IN (SELECT id FROM {quote(chats)}) GROUP BY chat",
        (_MISSING_CHAT_NOTE,),
    )
    return made.rowcount


def _expression(logical: str, column: str, theirs: str) -> str:
    value = quote(theirs)
    if column == "metadata":
        return f"llmctl_json({value})"
    if column == "id" or column in ("chat_id", "message_id"):
        return f"CAST({value} AS TEXT)"
    if column in _REQUIRED and not (logical in ("chats", "messages") and column in ("provider", "model")):
        return f"coalesce({value}, '')"
    return value


def _times(source: SourceTable, old: str) -> dict[str, str]:
    """Return the SQL of both times. Unreadable ones become the earliest of the table, which keeps the order."""
    created, now = quote(source.columns["created_at"]), clock.now()
    updated = quote(source.columns.get("updated_at", source.columns["created_at"]))
    earliest = f"(SELECT min(llmctl_time({created})) FROM {quote(old)})"
    return {
        "created_at": f"coalesce(llmctl_time({created}), {earliest}, '{now}')",
        "updated_at": f"coalesce(llmctl_time({updated}), llmctl_time({created}), {earliest}, '{now}')",
    }


def _call_ids(source: SourceTable) -> dict[str, str]:
    """Return the SQL of unique call ids; a provider's duplicate id is kept in ``provider_call_id``."""
    call, message = quote(source.columns["tool_call_id"]), quote(source.columns["message_id"])
    number = f"row_number() OVER (PARTITION BY {message}, {call} ORDER BY rowid)"
    return {
        "tool_call_id": f"CASE {number} WHEN 1 THEN coalesce({call}, '') ELSE {call} || '#' || {number} END",
        "provider_call_id": f"CASE WHEN {number} > 1 THEN {call} END",
    }


def _message_or_reference(message: str, messages: str) -> dict[str, str]:
    """Return the SQL of the message id; the id of a missing message is stored in ``refs``."""
    id = f"CAST({message} AS TEXT)"
    there = f"{id} IN (SELECT id FROM {messages})"
    return {
        "message_id": f"CASE WHEN {there} THEN {id} END",
        "refs": f"CASE WHEN {message} IS NULL OR {there} THEN '{{}}' ELSE json_object('message', {id}) END",
    }


def _order(source: SourceTable) -> str:
    created = f"llmctl_time({quote(source.columns['created_at'])}), rowid"
    return f"{quote(source.columns['chat_id'])}, {created}" if source.logical == "messages" else created


# --- detection


#: Our table -> columns that identify the original's, and further columns of some versions.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "chats": ("id model provider instructions metadata created_at updated_at", ""),
    "messages": (
        "id chat_id role content input_tokens output_tokens created_at",
        "content_raw reasoning thinking_text thinking_signature thinking_tokens model_id provider updated_at",
    ),
    "tool_invocations": (
        "id message_id tool_call_id name arguments created_at",
        "thought thought_signature result updated_at",
    ),
    "requests": (
        "id chat_id message_id provider model input_tokens output_tokens created_at",
        "status_code duration cost correction_rounds updated_at",
    ),
    "agent_sessions": ("id agent_class chat_id created_at", "metadata updated_at"),
}
#: Other names of columns, where Prisma maps a field to one (``@map``).
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "instructions": ("system_prompt", "system", "system_message", "system_instructions"),
    "model": ("model_name", "llm_model"),
    "provider": ("provider_name", "llm_provider"),
    "metadata": ("meta", "extra"),
    "content": ("body", "text"),
    "input_tokens": ("prompt_tokens", "tokens_in"),
    "output_tokens": ("completion_tokens", "tokens_out"),
    "created_at": ("created", "created_on", "inserted_at"),
    "updated_at": ("updated", "updated_on", "modified_at"),
    "arguments": ("args", "tool_arguments"),
    "name": ("tool_name",),
}
#: Tables that lack at most this many columns of chats and messages are probably the original's.
_NEAR_MISS_COLUMNS = 3
#: Without these tables a database belongs to another program.
_ESSENTIAL = ("chats", "messages")


@dataclass(frozen=True, slots=True)
class ForeignColumn:
    """A custom column, as SQLite describes it."""

    name: str
    type: str
    required: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of the original: our name, its name, the mapping of its columns, and custom columns."""

    logical: str
    table: str
    columns: Mapping[str, str]
    extras: tuple[ForeignColumn, ...]


def find_tables(connection: sqlite3.Connection, given_names: Mapping[str, str]) -> dict[str, SourceTable]:
    """Return logical name -> table of the original; empty for another program's database.

    ``given_names`` are table names set by the user. Raises UsageError if several tables match, or if a named table
    does not.
    """
    tables = {name: _columns(connection, name) for name in _tables(connection)}
    result: dict[str, SourceTable] = {}
    for logical, (needed, further) in _COLUMNS.items():
        named = _existing_table(given_names.get(logical), tables)
        fitting = [name for name in ([named] if named else tables) if _has_columns(tables[name], needed)]
        if named and not fitting:
            raise UsageError(
                f'table "{named}" cannot be used as "{logical}": it has no {_missing_columns(tables[named], needed)}',
                hint="omit it to keep the table as it is",
            )
        if len(fitting) > 1:
            raise UsageError(
                f'several tables match "{logical}": {", ".join(sorted(fitting))}',
                hint=f"choose one: --table {logical}={sorted(fitting)[0]}",
            )
        if fitting:
            result[logical] = _source_table(logical, fitting[0], tables[fitting[0]], f"{needed} {further}".split())
    return result if all(logical in result for logical in _ESSENTIAL) or given_names.keys() & result.keys() else {}


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%'"
    )
    return [row[0] for row in rows]


def _columns(connection: sqlite3.Connection, table: str) -> list[ForeignColumn]:
    rows = connection.execute(f"PRAGMA table_xinfo({quote(table)})")
    # Hidden and generated columns (6th field) have no stored values.
    return [ForeignColumn(row[1], row[2].upper(), bool(row[3]), row[4]) for row in rows if not row[6]]


def _existing_table(name: str | None, tables: Iterable[str]) -> str | None:
    """Return the existing table with that name, ignoring case, or None."""
    return next((table for table in tables if name is not None and table.lower() == name.lower()), None)


def describe_near_misses(connection: sqlite3.Connection) -> list[str]:
    """Return what the tables lack that are nearly those of the original, where :func:`find_tables` finds none."""
    tables = {name: _columns(connection, name) for name in _tables(connection)}
    found, total = [], 0
    for logical in _ESSENTIAL:
        needed = _COLUMNS[logical][0].split()
        lacking = {
            table: [name for name in needed if name not in _match_columns(columns, needed)]
            for table, columns in tables.items()
        }
        table = min(lacking, key=lambda name: len(lacking[name]), default=None)
        if table is None:
            return []
        total += len(lacking[table])
        if lacking[table]:
            found.append(f'"{table}" looks like the table of {logical}, but has no {_list_names(lacking[table])}')
    return found if total <= _NEAR_MISS_COLUMNS else []


def _has_columns(columns: Iterable[ForeignColumn], needed: str) -> bool:
    return set(needed.split()) <= _match_columns(columns, needed.split()).keys()


def _missing_columns(columns: Iterable[ForeignColumn], needed: str) -> str:
    there = _match_columns(columns, needed.split())
    return _list_names(name for name in needed.split() if name not in there)


def _list_names(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _match_columns(columns: Iterable[ForeignColumn], known: Iterable[str]) -> dict[str, str]:
    """Return our column -> theirs, by name, else by a synonym that is no name of ours."""
    theirs: dict[str, str] = {}
    for column in columns:
        theirs.setdefault(to_snake_case(column.name), column.name)
    ours = list(known)
    found = {name: theirs[name] for name in ours if name in theirs}
    for name in ours:
        synonym = next((other for other in _SYNONYMS.get(name, ()) if other in theirs and other not in ours), None)
        if name not in found and synonym:
            found[name] = theirs[synonym]
    return found


def _source_table(logical: str, table: str, columns: Iterable[ForeignColumn], known: list[str]) -> SourceTable:
    listed = list(columns)
    builtin = _match_columns(listed, known)
    taken = set(builtin.values())
    return SourceTable(logical, table, builtin, tuple(column for column in listed if column.name not in taken))
