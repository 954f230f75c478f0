"""Values and rows of another program's tables, brought into the form of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_json import dumps, loads
from llmctl.store.adopt.detect import Source
from llmctl.store.schema.ddl import quoted

#: Unix times below this are seconds, not milliseconds: it is the year 5138, or March 1973.
_SECONDS_BELOW = 100_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REQUIRED = frozenset(("role", "name", "arguments", "provider", "model", "agent_class", "tool_call_id"))
_LOST = "its row was gone when this database was adopted"


def time_of(value: Any) -> str | None:
    """Return ISO text in any form, or a Unix time in milliseconds or seconds, as we store it; None for no time."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        value = int(value)
    try:
        if isinstance(value, int | float):
            unit = "seconds" if abs(value) < _SECONDS_BELOW else "milliseconds"
            return clock.stored(_EPOCH + timedelta(**{unit: value}))
        return clock.stored(clock.parsed(value.strip())) if value else None
    except (ValueError, OverflowError, OSError):
        return None


def json_of(value: Any) -> str | None:
    """Return a JSON object or array as text; a scalar, or text that is no JSON, as ``{"value": ...}``."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    found = value
    for _ in range(2):  # some of it was encoded twice
        if isinstance(found, str):
            try:
                found = loads(found)
            except ValueError:
                break
    if found is None:
        return None
    return dumps(found if isinstance(found, dict | list) else {"value": found})


def register(connection: sqlite3.Connection) -> None:
    """Make the conversions known to a connection's SQL."""
    connection.create_function("llmctl_time", 1, time_of, deterministic=True)
    connection.create_function("llmctl_json", 1, json_of, deterministic=True)


def unread_times(connection: sqlite3.Connection, source: Source, old: str) -> int:
    """Return how many rows have a time that nobody can read."""
    created = quoted(source.columns["created_at"])
    sql = f"SELECT count(*) FROM {quoted(old)} WHERE llmctl_time({created}) IS NULL"
    return int(connection.execute(sql).fetchone()[0])


def copy_rows(
    connection: sqlite3.Connection,
    source: Source,
    old: str,
    new: str,
    names: Mapping[str, str],
    extras: Mapping[str, str],
) -> None:
    """Fill the table ``new`` from ``old``; triggers give messages their thread, place and time.

    ``names`` are the new tables' names, ``extras`` the user's columns: name -> SQL of the value.
    """
    columns = {column: _expression(source.logical, column, theirs) for column, theirs in source.columns.items()}
    columns |= _times(source, old)
    if source.logical == "tool_invocations":
        columns |= _call_ids(source)
    if "message_id" in source.columns:
        columns |= _message_or_reference(quoted(source.columns["message_id"]), quoted(names["messages"]))
    columns |= extras
    targets = ", ".join(map(quoted, columns))
    connection.execute(
        f"INSERT INTO {quoted(new)} ({targets}) SELECT {', '.join(columns.values())} FROM {quoted(old)}"
        f" ORDER BY {_order(source)}"
    )


def make_lost_chats(connection: sqlite3.Connection, pairs: Iterable[tuple[Source, str]], chats: str) -> int:
    """Make a chat for each id that rows point at though it has none; return how many."""
    pointing = " UNION ALL ".join(
        f"SELECT CAST({quoted(source.columns['chat_id'])} AS TEXT) AS chat,"
        f" {_times(source, old)['created_at']} AS at FROM {quoted(old)}"
        for source, old in pairs
        if "chat_id" in source.columns
    )
    made = connection.execute(
        f"INSERT INTO {quoted(chats)} (id, description, created_at, updated_at)"
        f" SELECT chat, ?, min(at), max(at) FROM ({pointing})"
        f" WHERE chat IS NOT NULL AND chat NOT IN (SELECT id FROM {quoted(chats)}) GROUP BY chat",
        (_LOST,),
    )
    return made.rowcount


def _expression(logical: str, column: str, theirs: str) -> str:
    value = quoted(theirs)
    if column == "metadata":
        return f"llmctl_json({value})"
    if column == "id" or column in ("chat_id", "message_id"):
        return f"CAST({value} AS TEXT)"
    if column in _REQUIRED and not (logical in ("chats", "messages") and column in ("provider", "model")):
        return f"coalesce({value}, '')"
    return value


def _times(source: Source, old: str) -> dict[str, str]:
    """Read both times. For one that cannot be read stands the earliest of the table: the order stays."""
    created, now = quoted(source.columns["created_at"]), clock.now()
    updated = quoted(source.columns.get("updated_at", source.columns["created_at"]))
    earliest = f"(SELECT min(llmctl_time({created})) FROM {quoted(old)})"
    return {
        "created_at": f"coalesce(llmctl_time({created}), {earliest}, '{now}')",
        "updated_at": f"coalesce(llmctl_time({updated}), llmctl_time({created}), {earliest}, '{now}')",
    }


def _call_ids(source: Source) -> dict[str, str]:
    """Keep a provider's id that was used twice within a message beside one that is unique."""
    call, message = quoted(source.columns["tool_call_id"]), quoted(source.columns["message_id"])
    number = f"row_number() OVER (PARTITION BY {message}, {call} ORDER BY rowid)"
    return {
        "tool_call_id": f"CASE {number} WHEN 1 THEN coalesce({call}, '') ELSE {call} || '#' || {number} END",
        "provider_call_id": f"CASE WHEN {number} > 1 THEN {call} END",
    }


def _message_or_reference(message: str, messages: str) -> dict[str, str]:
    """Point at a message that is there; the id of one that is not is kept among the references."""
    id = f"CAST({message} AS TEXT)"
    there = f"{id} IN (SELECT id FROM {messages})"
    return {
        "message_id": f"CASE WHEN {there} THEN {id} END",
        "refs": f"CASE WHEN {message} IS NULL OR {there} THEN '{{}}' ELSE json_object('message', {id}) END",
    }


def _order(source: Source) -> str:
    created = f"llmctl_time({quoted(source.columns['created_at'])}), rowid"
    return f"{quoted(source.columns['chat_id'])}, {created}" if source.logical == "messages" else created
