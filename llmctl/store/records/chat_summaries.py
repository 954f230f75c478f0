"""Chats as lists show them: with their counts, what they are called, what they cost, and how their last turn ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from llmctl.core.errors import NotFoundError
from llmctl.core.humanize import format_title
from llmctl.core.values import Value
from llmctl.store.database import Database, Row, quote
from llmctl.store.records.chats import column_names

_COLUMNS = """
  k.name AS connection,
  a.name AS agent,
  (SELECT t.id FROM {message_threads} t WHERE t.chat_id = c.id ORDER BY t.rowid LIMIT 1) AS thread_id,
  (SELECT count(*) FROM {messages} m WHERE m.chat_id = c.id) AS message_count,
  (SELECT substr(m.content, 1, 200) FROM {messages} m
   WHERE m.chat_id = c.id AND m.role = 'user' ORDER BY m.created_at LIMIT 1) AS preview,
  -- What the last turn left: NULL where it was answered.
  (SELECT CASE
     WHEN m.status = 'pending' OR j.status = 'running' THEN 'running'
     WHEN m.role = 'user' THEN CASE j.status WHEN 'failed' THEN 'failed' ELSE 'unanswered' END
     WHEN m.role = 'tool' THEN 'unfinished'
     WHEN m.status <> 'completed' THEN m.status
     WHEN m.chat_id IS NULL THEN 'unfinished' END
   FROM {message_threads} t JOIN {messages} m ON m.thread_id = t.id LEFT JOIN {jobs} j ON j.id = m.job_id
   WHERE t.chat_id = c.id AND m.role <> 'system' ORDER BY m.seq DESC LIMIT 1) AS state,
  -- Other names than these may be those of custom fields.
  (SELECT sum(nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END)) FROM {requests} r
   WHERE r.chat_id = c.id) AS sum_cost,
  (SELECT sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0)) FROM {requests} r
   WHERE r.chat_id = c.id) AS sum_tokens
"""
_JOINS = """
LEFT JOIN {model_connections} k ON c.type <> 'agent' AND k.id = c.source_id
LEFT JOIN {agents} a ON c.type = 'agent' AND a.id = c.source_id
"""
#: Chats without a turn of llmctl have no `last_turn_at`. Both halves are read from one index, newest first:
#: among equal keys (all NULL) an index is in the order of the rowids.
_NEWEST = """
SELECT * FROM (
  SELECT rowid AS place, coalesce(last_turn_at, created_at) AS used_at FROM {chats} c
  WHERE last_turn_at IS NOT NULL AND %(where)s ORDER BY last_turn_at DESC LIMIT :limit)
UNION ALL
SELECT * FROM (
  SELECT rowid AS place, created_at AS used_at FROM {chats} c
  WHERE last_turn_at IS NULL AND %(where)s ORDER BY rowid DESC LIMIT :limit)
ORDER BY used_at DESC, place DESC LIMIT :limit
"""
_LIST = (
    f"SELECT c.*, {_COLUMNS} FROM (%(newest)s) n CROSS JOIN {{chats}} c ON c.rowid = n.place {_JOINS}"
    " ORDER BY n.used_at DESC, n.place DESC"
)
_SORTED = (
    f"SELECT c.*, {_COLUMNS} FROM {{chats}} c {_JOINS} WHERE %(where)s ORDER BY %(order)s, c.rowid DESC LIMIT :limit"
)
_ONE = f"SELECT c.*, {_COLUMNS} FROM {{chats}} c {_JOINS} WHERE c.id = ?"

Sort = Literal["last-turn", "created", "cost", "tokens", "messages", "title"]
_ORDERS: dict[Sort, str] = {
    "created": "c.created_at DESC",
    "cost": "sum_cost DESC",
    "tokens": "sum_tokens DESC",
    "messages": "message_count DESC",
    "title": "coalesce(c.name, preview) COLLATE NOCASE",
}

#: The values of the metadata whose path is a key or begins it: ``a.b`` is b in a. Members of an array have its path.
#: A JSON path cannot express every key.
_WALK = """
WITH RECURSIVE walk(path, type, value) AS (
  SELECT e.key, e.type, e.value FROM json_each(c.metadata) e
  UNION ALL
  SELECT CASE w.type WHEN 'array' THEN w.path ELSE w.path || '.' || e.key END, e.type, e.value
  FROM walk w, json_each(w.value) e
  WHERE w.type IN ('object', 'array') AND substr({key} || '.', 1, length(w.path) + 1) = w.path || '.'
)
SELECT 1 FROM walk WHERE path = {key}"""
#: JSON's true and false as users type them; SQLite would return 1 and 0.
_METADATA = f"""
EXISTS ({_WALK} AND CASE WHEN type IN ('true', 'false', 'null') THEN type ELSE CAST(value AS TEXT) END = {{value}})
"""


class ChatFilter(Value):
    """Conditions on chats; all that are set must hold. ``where``: pairs of custom field or metadata key, and value."""

    since: str | None = None
    model: str | None = None
    agent_id: str | None = None
    connection_id: str | None = None
    folder: str | None = None
    where: Sequence[tuple[str, str]] = ()
    #: Also the branches that were left behind by undoing or asking again.
    branches: bool = True


def list_(database: Database, filters: ChatFilter, limit: int | None, sort: Sort = "last-turn") -> Iterator[Row]:
    """Yield chats with their counts, ``title``, ``status``, ``cost`` and ``tokens``: newest turn first, or sorted.

    Times and numbers descend, titles ascend.
    """
    conditions, values = _conditions(database, filters)
    where = " AND ".join(conditions) or "true"
    sql = _LIST % {"newest": _NEWEST % {"where": where}}
    if sort != "last-turn":
        sql = _SORTED % {"where": where, "order": _ORDERS[sort]}
    return map(_to_summary, database.rows(sql, values | {"limit": -1 if limit is None else limit}))


#: The first words of the chats that have no name.
_TITLES = """
SELECT c.id, c.name, CASE WHEN c.name IS NULL THEN (SELECT substr(m.content, 1, 200) FROM {messages} m
  WHERE m.chat_id = c.id AND m.role = 'user' ORDER BY m.created_at LIMIT 1) END AS preview
FROM {chats} c WHERE %(where)s ORDER BY coalesce(c.last_turn_at, c.created_at) DESC, c.rowid DESC LIMIT :limit
"""
_TEXTS = """
SELECT role, substr(content, 1, 8000) AS text FROM {messages} WHERE chat_id = ? AND content <> '' ORDER BY seq LIMIT 200
"""


def list_titles(database: Database, limit: int) -> list[tuple[str, str]]:
    """Return id and title of chats, the one with the newest turn first, without branches that were left behind."""
    conditions, values = _conditions(database, ChatFilter(branches=False))
    rows = database.rows(_TITLES % {"where": " AND ".join(conditions) or "true"}, values | {"limit": limit})
    return [(row["id"], format_title(row["name"], row["preview"], row["id"], 200)) for row in rows]


def list_texts(database: Database, id: str) -> list[tuple[str, str]]:
    """Return role and text of the first messages of a chat, for a preview."""
    return [(row["role"], row["text"]) for row in database.rows(_TEXTS, (id,))]


def count(database: Database, filters: ChatFilter) -> int:
    """Return the number of chats that match."""
    conditions, values = _conditions(database, filters)
    sql = f"SELECT count(*) FROM {{chats}} c WHERE {' AND '.join(conditions) or 'true'}"
    return int(database.value(sql, values))


def _to_summary(row: Row) -> Row:
    """Return a row with what is derived from it; custom fields of these names keep their values."""
    cost, tokens = row.pop("sum_cost"), row.pop("sum_tokens")
    derived = {
        "title": format_title(row["name"], row["preview"], row["id"]),
        "status": row["state"] or ("completed" if row["message_count"] else "empty"),
        "cost": None if cost is None else round(cost, 12),
        "tokens": tokens,
    }
    return row | {name: value for name, value in derived.items() if name not in row}


def get(database: Database, id: str) -> Row:
    """Return the chat with that id, with its counts."""
    row = database.one(_ONE, (id,))
    if row is None:
        raise NotFoundError(f'no chat "{id}"')
    return _to_summary(row)


def has_field(database: Database, name: str) -> bool:
    """Return whether any chat has that custom field or metadata key."""
    if name in database.fields.get("chats", {}):
        return True
    sql = f"SELECT 1 FROM {{chats}} c WHERE c.metadata IS NOT NULL AND EXISTS ({_WALK.format(key=':key')}) LIMIT 1"
    return database.value(sql, {"key": name}) is not None


def _conditions(database: Database, filters: ChatFilter) -> tuple[list[str], dict[str, Any]]:
    fixed = {
        "coalesce(c.last_turn_at, c.created_at) >= :since": filters.since,
        "c.model = :model": filters.model,
        "c.type = 'agent' AND c.source_id = :agent_id": filters.agent_id,
        "c.type <> 'agent' AND c.source_id = :connection_id": filters.connection_id,
        "c.last_turn_folder = :folder": filters.folder,
    }
    conditions = [condition for condition, value in fixed.items() if value is not None]
    if not filters.branches and "superseded_by" in column_names(database):  # not in hubs before their upgrade
        conditions.append("c.superseded_by IS NULL")
    values: dict[str, Any] = {
        name: getattr(filters, name) for name in ("since", "model", "agent_id", "connection_id", "folder")
    }
    for index, (field, value) in enumerate(filters.where):
        condition, result = _where(database, index, field, value)
        conditions.append(condition)
        values |= result
    return conditions, values


def _where(database: Database, index: int, field: str, value: str) -> tuple[str, dict[str, Any]]:
    declared = database.fields.get("chats", {}).get(field)
    if declared is None:
        names = {"key": f":key{index}", "value": f":value{index}"}
        return _METADATA.format(**names), {f"key{index}": field, f"value{index}": value}
    if declared.upper().startswith("BOOL") and value.lower() in ("true", "false"):
        value = "1" if value.lower() == "true" else "0"
    return f"c.{quote(field)} = :value{index}", {f"value{index}": value}
