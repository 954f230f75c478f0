"""Full-text search over all messages: chats, intermediate steps and tool results."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from llmctl.core.errors import UsageError
from llmctl.core.values import Value
from llmctl.store.database import Database, Row

#: More hits than this are not ranked, which would take too long: the newest come first then.
RANKED_HITS = 50_000

#: Around a match in a snippet; control characters, which texts do not contain.
HIGHLIGHT_MARKS = ("\x02", "\x03")

_COLUMNS = """
m.id, coalesce(t.chat_id, m.chat_id) AS chat_id, c.name AS chat, m.thread_id, m.seq, m.role,
m.model_id AS model, m.created_at
"""
_JOINS = """
LEFT JOIN {message_threads} t ON t.id = m.thread_id
LEFT JOIN {chats} c ON c.id = coalesce(t.chat_id, m.chat_id)
"""
_SEARCH_INDEX = (
    f"SELECT {_COLUMNS}, snippet(message_search, 0, :on, :off, '…', 24) AS snippet"
    f" FROM message_search JOIN {{messages}} m ON m.rowid = message_search.rowid {_JOINS}"
    " WHERE message_search MATCH :match %(where)s ORDER BY message_search.%(order)s LIMIT :limit"
)
_SCAN_MESSAGES = (
    f"SELECT {_COLUMNS}, m.content AS snippet FROM {{messages}} m {_JOINS}"
    " WHERE m.content IS NOT NULL %(where)s ORDER BY m.rowid DESC LIMIT :limit"
)
#: One row per chat: its best message, how many match, and when the newest was written. ``snippet`` knows no groups.
_CHATS = """
SELECT coalesce(t.chat_id, m.chat_id) AS chat_id, count(*) AS hits, min(h.score) AS score, h.place, m.id, m.seq, m.role,
  max(m.created_at) AS created_at
FROM (%(hits)s) h JOIN {messages} m ON m.rowid = h.place
LEFT JOIN {message_threads} t ON t.id = m.thread_id LEFT JOIN {chats} c ON c.id = coalesce(t.chat_id, m.chat_id)
WHERE coalesce(t.chat_id, m.chat_id) IS NOT NULL %(where)s
GROUP BY 1 ORDER BY %(order)s LIMIT :limit
"""
_RANKED_HITS = (
    "SELECT message_search.rowid AS place, message_search.rank AS score FROM message_search"
    " WHERE message_search MATCH :match"
)
_NEWEST_HITS = (
    "SELECT message_search.rowid AS place, -message_search.rowid AS score FROM message_search"
    " WHERE message_search MATCH :match"
)
_SCANNED_HITS = "SELECT rowid AS place, -rowid AS score FROM {messages} WHERE content IS NOT NULL"
_SNIPPET = (
    "SELECT snippet(message_search, 0, :on, :off, '…', 24) FROM message_search"
    " WHERE message_search MATCH :match AND message_search.rowid = :place"
)
_CONTENT = "SELECT content FROM {messages} WHERE rowid = ?"
_TITLE = """
SELECT name, (SELECT substr(m.content, 1, 200) FROM {messages} m
  WHERE m.chat_id = c.id AND m.role = 'user' ORDER BY m.created_at LIMIT 1) AS preview
FROM {chats} c WHERE c.id = ?
"""
_COUNT_HITS = "SELECT count(*) FROM (SELECT 1 FROM message_search WHERE message_search MATCH ? LIMIT ?)"

_CONDITIONS = {
    "role": "m.role = :role",
    "since": "m.created_at >= :since",
    "model": "coalesce(m.model_id, c.model) = :model",
    "chat_id": "m.thread_id IN (SELECT id FROM {message_threads} WHERE chat_id = :chat_id)",
}
_TERMS = re.compile(r'"([^"]*\w[^"]*)"|(\S+)')
#: Sentence punctuation, which is never searched for.
_PUNCTUATION = ".,;:!?…"
#: Thai to Khmer, kana, Han, Hangul: written without spaces, so the index does not split them into words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
#: LIKE ignores the case of ASCII letters only.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


class SearchFilter(Value):
    """Conditions on messages; all that are set must hold."""

    role: str | None = None
    since: str | None = None
    model: str | None = None
    chat_id: str | None = None


def search(database: Database, text: str, filters: SearchFilter, limit: int | None, *, raw: bool = False) -> list[Row]:
    """Return the messages that match ``text``, best first (see :data:`RANKED_HITS`), each with a ``snippet``.

    ``text`` is plain text; with ``raw`` it is an FTS5 query, and an invalid one raises UsageError.
    """
    if not text.strip():
        raise UsageError("the search text is empty", hint="search for a word: llmctl chats search error")
    query = FtsQuery(text, ()) if raw else parse_query(text)
    if query.match is None:
        return _scan_messages(database, query.literals, filters, limit)
    with _explain_errors(text, raw):
        return _search_index(database, query.match, query.literals, filters, limit)


def search_chats(
    database: Database, text: str, filters: SearchFilter, limit: int | None, *, raw: bool = False, newest: bool = False
) -> list[Row]:
    """Return the chats with messages that match, best or newest first: ``title``, ``hits``, and the best message.

    Of the message there are ``id seq role`` and a ``snippet``; ``created_at`` is the time of the newest that matches.
    Texts are those of :func:`search`.
    """
    if not text.strip():
        raise UsageError("the search text is empty", hint="search for a word: llmctl chats search error")
    query = FtsQuery(text, ()) if raw else parse_query(text)
    with _explain_errors(text, raw):
        rows = _find_chats(database, query, filters, limit, newest)
        return [_to_found_chat(database, row, query) for row in rows]


def find_chat_ids(
    database: Database, text: str, filters: SearchFilter, limit: int | None, *, raw: bool = False
) -> list[str]:
    """Return the ids of the chats that :func:`search_chats` finds, the best first: without texts, ten times as fast."""
    query = FtsQuery(text, ()) if raw else parse_query(text)
    rows = _find_chats(database, query, filters, limit, newest=False) if text.strip() else []
    return [row["chat_id"] for row in rows]


def _find_chats(
    database: Database, query: FtsQuery, filters: SearchFilter, limit: int | None, newest: bool
) -> list[Row]:
    where, values = _conditions(filters, query.literals)
    values |= {"match": query.match, "limit": -1 if limit is None else limit}
    hits = _SCANNED_HITS
    if query.match is not None:
        is_ranked = database.value(_COUNT_HITS, (query.match, RANKED_HITS + 1)) <= RANKED_HITS
        hits = _RANKED_HITS if is_ranked and not newest else _NEWEST_HITS
    order = "created_at DESC" if newest else "score, created_at DESC"
    return database.query(_CHATS % {"hits": hits, "where": where, "order": order}, values)


def _to_found_chat(database: Database, row: Row, query: FtsQuery) -> Row:
    from llmctl.core.humanize import format_title  # only for lists

    place = row.pop("place")
    if query.match is None:
        snippet = _snippet(database.value(_CONTENT, (place,)), query.literals[0])
    else:
        marks = {"on": HIGHLIGHT_MARKS[0], "off": HIGHLIGHT_MARKS[1]}
        snippet = database.value(_SNIPPET, marks | {"match": query.match, "place": place})
    chat = database.one(_TITLE, (row["chat_id"],)) or {"name": None, "preview": None}
    return row | {"title": format_title(chat["name"], chat["preview"], row["chat_id"]), "snippet": snippet}


@contextmanager
def _explain_errors(text: str, raw: bool) -> Iterator[None]:
    """Turn the error of SQLite about a query in its own syntax into one for the user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not raw:
            raise
        raise UsageError(
            f'invalid full-text query "{text}": {error}',
            hint="see https://sqlite.org/fts5.html#full_text_query_syntax, or omit --fts",
        ) from error


def _search_index(
    database: Database, match: str, literals: tuple[str, ...], filters: SearchFilter, limit: int | None
) -> list[Row]:
    hits = database.value(_COUNT_HITS, (match, RANKED_HITS + 1))
    where, values = _conditions(filters, literals)
    order = "rank" if hits <= RANKED_HITS else "rowid DESC"
    values |= {
        "match": match,
        "on": HIGHLIGHT_MARKS[0],
        "off": HIGHLIGHT_MARKS[1],
        "limit": -1 if limit is None else limit,
    }
    return database.query(_SEARCH_INDEX % {"where": where, "order": order}, values)


def _scan_messages(
    database: Database, literals: tuple[str, ...], filters: SearchFilter, limit: int | None
) -> list[Row]:
    """Scan the texts, newest first, until there are enough hits.

    Newest means last inserted: reading rows in the order of the index on their times takes twice as long.
    """
    where, values = _conditions(filters, literals)
    rows = database.query(_SCAN_MESSAGES % {"where": where}, values | {"limit": -1 if limit is None else limit})
    return [row | {"snippet": _snippet(row["snippet"], literals[0])} for row in rows]


def _conditions(filters: SearchFilter, literals: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {name: value for name in _CONDITIONS if (value := getattr(filters, name)) is not None}
    conditions = [_CONDITIONS[name] for name in values]
    for index, literal in enumerate(literals):
        content = "replace(m.content, '’', '''')" if "'" in literal or "’" in literal else "m.content"
        conditions.append(f"{content} LIKE :like{index} ESCAPE '\\'")
        values[f"like{index}"] = like_pattern(literal)
    return "".join(f" AND {condition}" for condition in conditions), values


def _snippet(text: str, literal: str) -> str:
    """Return the text around a literal, in the form of the index's snippets."""
    at = max(0, text.lower().find(literal.lower()))
    begin, end = max(0, at - 60), at + len(literal) + 80
    on, off = HIGHLIGHT_MARKS
    marked = f"{text[begin:at]}{on}{text[at : at + len(literal)]}{off}{text[at + len(literal) : end]}"
    return ("…" if begin else "") + marked + ("…" if end < len(text) else "")


class FtsQuery(Value):
    """``match`` is an FTS5 query, or None if there is no indexed word; ``literals`` must occur in the text."""

    match: str | None
    literals: tuple[str, ...]


def parse_query(text: str) -> FtsQuery:
    """Parse plain text: every word must match, the last one as a prefix; ``"..."`` is a phrase."""
    phrases: list[str] = []
    literals: list[str] = []
    last_is_prefix = False
    for quoted, bare in _TERMS.findall(text.replace("\0", " ")):
        piece = quoted or _strip_punctuation(bare)
        indexed = _has_word(piece) and not _UNSPACED.search(piece)
        if indexed:
            phrases.append('"' + piece.replace('"', '""') + '"')
        if not indexed or not all(character.isalnum() or character.isspace() for character in piece):
            literals.append(piece)
        last_is_prefix = indexed and bool(bare) and len(piece) > 1 and piece[-2:].isalnum()
    match = " ".join(phrases) + ("*" if last_is_prefix else "")
    return FtsQuery(match or None, tuple(literals))


def like_pattern(literal: str) -> str:
    """Return the LIKE pattern (escape character ``\\``) that matches a literal, ignoring case.

    The caller replaces ``’`` by ``'`` in the text, since typed and typographic apostrophes differ.
    """
    pattern = re.sub(r"([\\%_])", r"\\\1", literal.replace("’", "'"))
    if _has_word(literal) and not _UNSPACED.search(literal):
        pattern = _BEYOND_ASCII.sub("_", pattern)
    return f"%{pattern}%"


def _strip_punctuation(text: str) -> str:
    """Return a word without trailing sentence punctuation; pure punctuation stays as it is."""
    stripped = text.rstrip(_PUNCTUATION)
    return stripped if _has_word(stripped) else text


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
