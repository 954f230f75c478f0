"""Convert values and rows of another program's tables to the hub's format."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_json import dumps, loads
from llmctl.store.adopt.detect import SourceTable
from llmctl.store.schema.ddl import quote

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
