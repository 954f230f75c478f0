"""Names and ids for a shell that completes a word: read-only, quick, and silent about anything that is wrong."""

from __future__ import annotations

import os
import sqlite3

#: Kind -> table, what to say beside the name. These have names.
_NAMED = {
    "chat": ("chats", "coalesce(model, '')"),
    "connection": ("model_connections", "trim(provider || ' ' || coalesce(model_id, ''))"),
    "agent": ("agents", "coalesce(description, '')"),
    "tool": ("tools", "type"),
    "alias": ("model_aliases", "'alias'"),
}
#: Kind -> table, what to say beside the id. These are known by their ids.
_NUMBERED = {
    "chat": ("chats", "coalesce(name, description, model, '')"),
    "session": ("agent_sessions", "agent_class"),
    "request": ("requests", "status || ' ' || model"),
    "job": ("jobs", "status || ' ' || name"),
    "thread": ("message_threads", "''"),
    "invocation": ("tool_invocations", "status || ' ' || name"),
    "message": ("messages", "role || ' ' || coalesce(substr(content, 1, 40), '')"),
}
_MODELS = """
SELECT DISTINCT model_id, provider FROM {table}
WHERE model_id IS NOT NULL AND substr(model_id, 1, length(?1)) = ?1 ORDER BY model_id LIMIT 100
"""
# A range instead of LIKE, so that the index on the name is used.
_BY_NAME = """
SELECT name, {beside} FROM {table}
WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) ORDER BY rowid DESC LIMIT 100
"""
_BY_ID = """
SELECT substr(id, 1, max(8, length(?1))), {beside} FROM {table}
WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY rowid DESC LIMIT 50
"""

Candidates = list[tuple[str, str]]


def candidates(path: str, kind: str, prefix: str) -> Candidates:
    """Return what a word of that kind may become, with a few words on each; the newest first."""
    try:
        connection = _opened(path)
    except (sqlite3.Error, OSError):
        return []
    try:
        return [(value, beside or "") for value, beside in _found(connection, kind, prefix) if value]
    except sqlite3.Error:
        return []
    finally:
        connection.close()


def _found(connection: sqlite3.Connection, kind: str, prefix: str) -> Candidates:
    if kind == "model":
        names = _found(connection, "connection", prefix) + _found(connection, "alias", prefix)
        models = _select(connection, _MODELS, "model_connections", "", prefix)
        return list((dict(names) | dict(models)).items())
    found: Candidates = []
    if kind in _NAMED:
        found += _select(connection, _BY_NAME, *_NAMED[kind], prefix)
    if kind in _NUMBERED and not (found and not prefix):
        found += _select(connection, _BY_ID, *_NUMBERED[kind], prefix)
    return found


def _select(connection: sqlite3.Connection, sql: str, table: str, beside: str, prefix: str) -> Candidates:
    own = connection.execute(
        "SELECT json_extract(value, '$.' || ?) FROM hub_meta WHERE key = 'tables'", (table,)
    ).fetchone()
    name = ((own and own[0]) or table).replace('"', '""')
    return connection.execute(sql.format(table=f'"{name}"', beside=beside), (prefix,)).fetchall()


def _opened(path: str) -> sqlite3.Connection:
    os.stat(path)
    # Opening a WAL database read-only makes the files beside it; without a WAL there is nothing to miss in them.
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{escaped}?{mode}", uri=True, timeout=0.1)
