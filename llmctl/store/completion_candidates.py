"""Names and ids for shell completion: read-only, fast, and silent about errors."""

from __future__ import annotations

import os
import sqlite3

#: Kind -> table, SQL of the description. Kinds completed by name.
_NAME_QUERIES = {
    "chat": ("chats", "coalesce(model, '')"),
    "connection": ("model_connections", "trim(provider || ' ' || coalesce(model_id, ''))"),
    "agent": ("agents", "coalesce(description, '')"),
    "tool": ("tools", "type"),
    "alias": ("model_aliases", "'alias'"),
}
#: Kind -> table, SQL of the description. Kinds completed by id.
_ID_QUERIES = {
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
# A range instead of LIKE uses the index on the name.
_BY_NAME = """
SELECT name, {description} FROM {table}
WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) ORDER BY rowid DESC LIMIT 100
"""
_BY_ID = """
SELECT substr(id, 1, max(8, length(?1))), {description} FROM {table}
WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY rowid DESC LIMIT 50
"""

Candidates = list[tuple[str, str]]


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


def _find(connection: sqlite3.Connection, kind: str, prefix: str) -> Candidates:
    if kind == "model":
        names = _find(connection, "connection", prefix) + _find(connection, "alias", prefix)
        models = _select(connection, _MODELS, "model_connections", "", prefix)
        return list((dict(names) | dict(models)).items())
    result: Candidates = []
    if kind in _NAME_QUERIES:
        result += _select(connection, _BY_NAME, *_NAME_QUERIES[kind], prefix)
    if kind in _ID_QUERIES and not (result and not prefix):
        result += _select(connection, _BY_ID, *_ID_QUERIES[kind], prefix)
    return result


def _select(connection: sqlite3.Connection, sql: str, table: str, description: str, prefix: str) -> Candidates:
    own = connection.execute(
        "SELECT json_extract(value, '$.' || ?) FROM hub_meta WHERE key = 'tables'", (table,)
    ).fetchone()
    name = ((own and own[0]) or table).replace('"', '""')
    return connection.execute(sql.format(table=f'"{name}"', description=description), (prefix,)).fetchall()


def _open(path: str) -> sqlite3.Connection:
    os.stat(path)
    # Opening a WAL database read-only creates its side files; without a WAL the file alone is complete.
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{escaped}?{mode}", uri=True, timeout=0.1)
