"""Which tables of a database were made by ``@node-llm/orm``, in any of its versions and under any names.

They are told by their columns: users rename models, and Prisma maps ``chatId`` to ``chat_id`` or leaves it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmctl.core.errors import UsageError
from llmctl.store.schema.custom_fields import snake
from llmctl.store.schema.ddl import quoted

#: Our table -> columns by which the original's is known, and the further ones that it has in some versions.
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
#: Without these a database is another program's.
_ESSENTIAL = ("chats", "messages")


@dataclass(frozen=True, slots=True)
class Extra:
    """A column of the user's own, as SQLite describes it."""

    name: str
    type: str
    required: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the original: our name for it, its own, which column is which, and the user's own columns."""

    logical: str
    table: str
    columns: Mapping[str, str]
    extras: tuple[Extra, ...]


def find(connection: sqlite3.Connection, given: Mapping[str, str]) -> dict[str, Source]:
    """Return the original's tables by our names for them; nothing where this is another program's database.

    ``given`` names tables where the user knows better. Raises UsageError where several could be meant, or where a
    table that was named does not fit.
    """
    tables = {name: _columns(connection, name) for name in _tables(connection)}
    found: dict[str, Source] = {}
    for logical, (needed, further) in _COLUMNS.items():
        named = _existing(given.get(logical), tables)
        fitting = [name for name in ([named] if named else tables) if _fits(tables[name], needed)]
        if named and not fitting:
            raise UsageError(
                f'table "{named}" cannot become "{logical}": it has no {_missing(tables[named], needed)}',
                hint="leave it out to keep it as it is",
            )
        if len(fitting) > 1:
            raise UsageError(
                f'several tables could be "{logical}": {", ".join(sorted(fitting))}',
                hint=f"say which: --table {logical}={sorted(fitting)[0]}",
            )
        if fitting:
            found[logical] = _source(logical, fitting[0], tables[fitting[0]], f"{needed} {further}".split())
    return found if all(logical in found for logical in _ESSENTIAL) or given.keys() & found.keys() else {}


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%'"
    )
    return [row[0] for row in rows]


def _columns(connection: sqlite3.Connection, table: str) -> list[Extra]:
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})")
    # Hidden and generated columns (6th field) hold nothing of their own.
    return [Extra(row[1], row[2].upper(), bool(row[3]), row[4]) for row in rows if not row[6]]


def _existing(name: str | None, tables: Iterable[str]) -> str | None:
    """Return the table that is meant, whatever the case; None for a name that no table has yet."""
    return next((table for table in tables if name is not None and table.lower() == name.lower()), None)


def _fits(columns: Iterable[Extra], needed: str) -> bool:
    return set(needed.split()) <= {snake(column.name) for column in columns}


def _missing(columns: Iterable[Extra], needed: str) -> str:
    there = {snake(column.name) for column in columns}
    return ", ".join(f'"{name}"' for name in needed.split() if name not in there)


def _source(logical: str, table: str, columns: Iterable[Extra], known: list[str]) -> Source:
    ours: dict[str, str] = {}
    extras = []
    for column in columns:
        name = snake(column.name)
        if name in known and name not in ours:
            ours[name] = column.name
        else:
            extras.append(column)
    return Source(logical, table, ours, tuple(extras))
