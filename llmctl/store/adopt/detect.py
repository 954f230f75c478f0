"""Detect the tables of ``@node-llm/orm`` in a database, in any version and under any names.

They are recognised by their columns: users rename models, and Prisma may map ``chatId`` to ``chat_id``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmctl.core.errors import UsageError
from llmctl.store.schema.custom_names import to_snake_case
from llmctl.store.schema.ddl import quote

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


def _has_columns(columns: Iterable[ForeignColumn], needed: str) -> bool:
    return set(needed.split()) <= {to_snake_case(column.name) for column in columns}


def _missing_columns(columns: Iterable[ForeignColumn], needed: str) -> str:
    there = {to_snake_case(column.name) for column in columns}
    return ", ".join(f'"{name}"' for name in needed.split() if name not in there)


def _source_table(logical: str, table: str, columns: Iterable[ForeignColumn], known: list[str]) -> SourceTable:
    builtin: dict[str, str] = {}
    extras = []
    for column in columns:
        name = to_snake_case(column.name)
        if name in known and name not in builtin:
            builtin[name] = column.name
        else:
            extras.append(column)
    return SourceTable(logical, table, builtin, tuple(extras))
