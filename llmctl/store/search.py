"""Full-text search over everything that was said: chats, steps in between and tool results."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from llmctl.core.errors import UsageError
from llmctl.store import fts_query
from llmctl.store.database import Database, Row

#: More hits than this are not ranked: it would take longer than anybody waits. The newest come first then.
RANKED_HITS = 50_000

#: Around what was found in a snippet; control characters, so that no text holds them.
MARKS = ("\x02", "\x03")

_COLUMNS = """
m.id, coalesce(t.chat_id, m.chat_id) AS chat_id, c.name AS chat, m.thread_id, m.seq, m.role,
m.model_id AS model, m.created_at
"""
_PLACES = """
LEFT JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = coalesce(t.chat_id, m.chat_id)
"""
_INDEXED = (
    f"SELECT {_COLUMNS}, snippet(message_search, 0, :on, :off, '…', 24) AS snippet"
    f" FROM message_search JOIN {{messages}} m ON m.rowid = message_search.rowid {_PLACES}"
    " WHERE message_search MATCH :match %(where)s ORDER BY message_search.%(order)s LIMIT :limit"
)
_SCANNED = (
    f"SELECT {_COLUMNS}, m.content AS snippet FROM {{messages}} m {_PLACES}"
    " WHERE m.content IS NOT NULL %(where)s ORDER BY m.rowid DESC LIMIT :limit"
)
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM message_search WHERE message_search MATCH ? LIMIT ?)"

_CONDITIONS = {
    "role": "m.role = :role",
    "since": "m.created_at >= :since",
    "model": "coalesce(m.model_id, c.model) = :model",
    "chat_id": "m.thread_id IN (SELECT id FROM {message_threads} WHERE chat_id = :chat_id)",
}


class Filter(NamedTuple):
    """Which messages: all that is set must hold."""

    role: str | None = None
    since: str | None = None
    model: str | None = None
    chat_id: str | None = None


def search(database: Database, text: str, wanted: Filter, limit: int | None, *, raw: bool = False) -> list[Row]:
    """Return the messages that say ``text``, best first (see :data:`RANKED_HITS`), each with a ``snippet``.

    ``text`` is plain; with ``raw`` it is a query in FTS5's own language, and UsageError where it is none.
    """
    if not text.strip():
        raise UsageError("nothing to search for", hint="name a word")
    query = fts_query.Query(text, ()) if raw else fts_query.parsed(text)
    if query.match is None:
        return _scanned(database, query.literals, wanted, limit)
    try:
        return _indexed(database, query.match, query.literals, wanted, limit)
    except sqlite3.OperationalError as error:
        if not raw:
            raise
        raise UsageError(
            f'"{text}" is no full-text query: {error}',
            hint="see https://sqlite.org/fts5.html#full_text_query_syntax, or leave out --fts",
        ) from error


def _indexed(database: Database, match: str, literals: tuple[str, ...], wanted: Filter, limit: int | None) -> list[Row]:
    hits = database.value(_COUNT, (match, RANKED_HITS + 1))
    where, values = _conditions(wanted, literals)
    order = "rank" if hits <= RANKED_HITS else "rowid DESC"
    values |= {"match": match, "on": MARKS[0], "off": MARKS[1], "limit": -1 if limit is None else limit}
    return database.query(_INDEXED % {"where": where, "order": order}, values)


def _scanned(database: Database, literals: tuple[str, ...], wanted: Filter, limit: int | None) -> list[Row]:
    """Look at the texts themselves, the newest first, until there are enough.

    Newest is what came last: by the index of their times the rows would be read in an order that takes twice as long.
    """
    where, values = _conditions(wanted, literals)
    rows = database.query(_SCANNED % {"where": where}, values | {"limit": -1 if limit is None else limit})
    return [row | {"snippet": _snippet(row["snippet"], literals[0])} for row in rows]


def _conditions(wanted: Filter, literals: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    conditions = [_CONDITIONS[name] for name in values]
    for index, literal in enumerate(literals):
        said = "replace(m.content, '’', '''')" if "'" in literal or "’" in literal else "m.content"
        conditions.append(f"{said} LIKE :like{index} ESCAPE '\\'")
        values[f"like{index}"] = fts_query.like(literal)
    return "".join(f" AND {condition}" for condition in conditions), values


def _snippet(text: str, literal: str) -> str:
    """Return the surroundings of a literal, like those that the index gives."""
    at = max(0, text.lower().find(literal.lower()))
    begin, end = max(0, at - 60), at + len(literal) + 80
    on, off = MARKS
    marked = f"{text[begin:at]}{on}{text[at : at + len(literal)]}{off}{text[at + len(literal) : end]}"
    return ("…" if begin else "") + marked + ("…" if end < len(text) else "")
