"""Names and ids for shell completion: read-only, fast, and silent about errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable

Candidates = list[tuple[str, str]]

_FIRST_WORDS = """
(SELECT substr(m.content, 1, 80) FROM {message_threads} t JOIN {messages} m ON m.thread_id = t.id
 WHERE t.chat_id = c.id AND m.role = 'user' ORDER BY m.seq LIMIT 1)"""
_AT = "' ' || substr(c.created_at, 1, 16)"
# A range instead of LIKE uses the index on the name.
_BY_NAME = """
SELECT c.name, @description FROM {@table} c
WHERE c.name >= ?1 AND c.name < ?1 || char(0x10FFFF) @condition ORDER BY c.rowid DESC LIMIT 100"""
_BY_ID = """
SELECT substr(c.id, 1, max(8, length(?1))), @description FROM {@table} c
WHERE c.id >= ?1 AND c.id < ?1 || 'g' @condition ORDER BY c.rowid DESC LIMIT 50"""
#: Kind -> table, SQL of the description, further conditions. Kinds completed by name.
_NAMED = {
    "chat": ("chats", f"coalesce(c.description, {_FIRST_WORDS}, c.model)", ""),
    "connection": ("model_connections", "trim(c.provider || ' ' || coalesce(c.model_id, ''))", ""),
    "agent": ("agents", "coalesce(c.description, c.instructions)", ""),
    "tool": ("tools", "coalesce(c.description, c.type)", ""),
    "alias": ("model_aliases", "'alias of ' || c.target", ""),
}
#: Kinds completed by id. Without a prefix, chats that have no name; never branches that /undo left.
_BY_IDS = {
    "chat": (
        "chats",
        f"coalesce(c.name, c.description, {_FIRST_WORDS}, c.model)",
        "AND (?1 <> '' OR c.name IS NULL {is_current})",
    ),
    "session": (
        "agent_sessions",
        f"(SELECT coalesce(c.name, {_FIRST_WORDS}) FROM {{chats}} c WHERE c.id = chat_id)",
        "",
    ),
    "request": ("requests", f"c.status || ' ' || c.model || {_AT}", ""),
    "job": ("jobs", f"c.status || ' ' || c.name || {_AT}", ""),
    "thread": ("message_threads", "(SELECT name FROM {chats} WHERE id = c.chat_id)", ""),
    "invocation": ("tool_invocations", "c.status || ' ' || c.name || ' ' || substr(c.arguments, 1, 80)", ""),
    "pending": ("tool_invocations", "c.name || ' ' || substr(c.arguments, 1, 80)", "AND c.status = 'pending'"),
    "message": ("messages", "c.role || ' ' || coalesce(substr(c.content, 1, 80), '')", ""),
}
_MODELS = """
SELECT DISTINCT model_id, provider FROM {model_connections}
WHERE model_id IS NOT NULL AND substr(model_id, 1, length(?1)) = ?1 ORDER BY model_id LIMIT 100"""
#: Models that a connection has answered with, or that one to the same provider is set to.
_MODELS_OF_CONNECTION = """
SELECT model, 'used' FROM {usage_monthly} WHERE connection = ?1
UNION SELECT o.model_id, o.name FROM {model_connections} c JOIN {model_connections} o ON o.provider = c.provider
WHERE c.name = ?1 AND o.model_id IS NOT NULL ORDER BY 1 LIMIT 100"""


def find_candidates(path: str, kind: str, prefix: str) -> Candidates:
    """Return completions of a kind that start with ``prefix``, each with a description; newest first."""
    try:
        connection = _open(path)
    except (sqlite3.Error, OSError):
        return []
    try:
        return [(value, description or "") for value, description in _find(connection, kind, prefix) if value]
    except sqlite3.Error:
        return []
    finally:
        connection.close()


def find_provider(path: str, name: str) -> str | None:
    """Return the provider of the connection of a name, or None."""
    found = dict(find_candidates(path, "connection", name)).get(name)
    return found.partition(" ")[0].lower() if found else None


def _find(connection: sqlite3.Connection, kind: str, prefix: str) -> Candidates:
    tables = _Tables(connection)
    if kind == "model":
        names = _select(tables, _BY_NAME, _NAMED["connection"], prefix) + _select(
            tables, _BY_NAME, _NAMED["alias"], prefix
        )
        models = tables.query(_MODELS, prefix)
        return list((dict(names) | dict(models)).items()) + _find_of_connection(tables, prefix)
    result: Candidates = []
    if kind in _NAMED:
        result += _select(tables, _BY_NAME, _NAMED[kind], prefix)
    if kind in _BY_IDS:
        result += _select(tables, _BY_ID, _BY_IDS[kind], prefix)
    return result


def _find_of_connection(tables: _Tables, prefix: str) -> Candidates:
    """Return ``CONNECTION:MODEL`` for what is known of the connection before the colon."""
    name, colon, start = prefix.partition(":")
    models: Iterable[tuple[str, str]] = tables.query(_MODELS_OF_CONNECTION, name) if colon else ()
    return [(f"{name}:{model}", description) for model, description in models if model.startswith(start)]


def _select(tables: _Tables, sql: str, kind: tuple[str, str, str], prefix: str) -> Candidates:
    table, description, condition = kind
    sql = sql.replace("@table", table).replace("@description", description).replace("@condition", condition)
    return tables.query(sql, prefix)


class _Tables(dict[str, str]):
    """The tables of a hub by their own names, quoted, whatever the hub calls them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        renamed = "SELECT t.key, t.value FROM hub_meta h, json_each(h.value) t WHERE h.key = 'tables'"
        super().__init__((name, _quote(own)) for name, own in connection.execute(renamed))
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        self["is_current"] = "AND c.superseded_by IS NULL" if version >= 4 else ""

    def __missing__(self, name: str) -> str:
        return _quote(name)

    def query(self, sql: str, parameter: str) -> Candidates:
        return self._connection.execute(sql.format_map(self), (parameter,)).fetchall()


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _open(path: str) -> sqlite3.Connection:
    os.stat(path)
    # Opening a WAL database read-only creates its side files; without a WAL the file alone is complete.
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{escaped}?{mode}", uri=True, timeout=0.1)
