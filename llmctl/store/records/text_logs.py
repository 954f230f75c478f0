"""Text logs: a first row and its continuations, so that long output grows without rewriting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps, new_id
from llmctl.store import refs
from llmctl.store.database import Database, Insert, Row, Serializer

_COLUMNS = """
l.id, l.refs,
(SELECT count(*) FROM {text_logs} s WHERE s.series_id = l.id) + 1 AS pieces,
length(l.text) + (SELECT coalesce(sum(length(s.text)), 0) FROM {text_logs} s WHERE s.series_id = l.id) AS characters,
(SELECT j.id FROM {jobs} j WHERE j.text_log_id = l.id LIMIT 1) AS job_id,
(SELECT i.id FROM {tool_invocations} i WHERE i.text_log_id = l.id LIMIT 1) AS invocation_id,
l.created_at,
coalesce((SELECT max(s.updated_at) FROM {text_logs} s WHERE s.series_id = l.id), l.updated_at) AS updated_at
"""
#: A streamed log begins with an empty row.
_BEGINNING = """coalesce(nullif(l.text, ''),
  (SELECT s.text FROM {text_logs} s WHERE s.series_id = l.id ORDER BY s.position LIMIT 1), '')"""
_LIST = (
    f"SELECT {_COLUMNS}, substr({_BEGINNING}, 1, 200) AS beginning FROM {{text_logs}} l"
    " WHERE l.series_id IS NULL ORDER BY l.rowid DESC LIMIT ?"
)
_ONE = f"SELECT {_COLUMNS} FROM {{text_logs}} l WHERE l.id = ?"
_PIECES = "SELECT text, position FROM {{text_logs}} WHERE {which} ORDER BY position {order}"
#: Separate from the first row: conditions joined by OR could not be read from an index in order.
_CONTINUED = "series_id = :log AND position > :after"


def add(database: Database, text: str, references: Mapping[str, str]) -> str:
    """Add a log; return its id."""
    now = clock.now()
    row = {"id": new_id(), "refs": dumps(dict(references)), "text": text, "created_at": now, "updated_at": now}
    database.commit(Insert("text_logs", row))
    return str(row["id"])


def append(database: Database, log_id: str, text: str) -> None:
    """Append to a log; other processes may do so at the same time."""
    now = clock.now()
    with database.transaction():
        last = database.value("SELECT max(position) FROM {text_logs} WHERE series_id = ?", (log_id,))
        row = {"id": new_id(), "series_id": log_id, "position": (last or 0) + 1, "text": text}
        database.commit(Insert("text_logs", row | {"created_at": now, "updated_at": now}))


def get(database: Database, ref: str) -> Row:
    """Return the first row of the log a REF refers to; raise UsageError for a continuation."""
    row = refs.get(database, "text_logs", ref, kind="log")
    if row["series_id"] is not None:
        raise UsageError(
            f'"{ref}" is a continuation of a log', hint=f"show the log: llmctl log show {row['series_id'][:8]}"
        )
    return row


def list_(database: Database, limit: int | None) -> Iterator[Row]:
    """Yield logs as records, newest first, with their length and beginning."""
    shape = Serializer(database, "text_logs")
    return (shape.to_record(row) for row in database.rows(_LIST, (-1 if limit is None else limit,)))


def count(database: Database) -> int:
    """Return the number of logs."""
    return int(database.value("SELECT count(*) FROM {text_logs} WHERE series_id IS NULL"))


def get_record(database: Database, log_id: str) -> Row:
    """Return a log as a record, without its text."""
    row = database.one(_ONE, (log_id,))
    assert row is not None
    return Serializer(database, "text_logs").to_record(row)


def list_pieces(database: Database, log_id: str, *, after: int = -1) -> Iterator[Row]:
    """Yield the rows of a log (``text``, ``position``) after a position, in order."""
    values = {"log": log_id, "after": max(after, 0)}
    if after < 0:
        yield from database.rows(_PIECES.format(which="id = :log", order=""), values)
    yield from database.rows(_PIECES.format(which=_CONTINUED, order=""), values)


def tail(database: Database, log_id: str, lines: int) -> tuple[str, int, int]:
    """Return the last lines of a log, and position and length in characters of its last row."""
    values = {"log": log_id, "after": 0}
    result: list[str] = []
    newest: Row | None = None
    for which in (_CONTINUED, "id = :log"):
        for row in database.rows(_PIECES.format(which=which, order="DESC"), values):
            newest = newest or row
            result.insert(0, row["text"])
            if sum(text.count("\n") for text in result) > lines:
                return _last_lines("".join(result), lines), newest["position"], len(newest["text"])
    assert newest is not None
    return _last_lines("".join(result), lines), newest["position"], len(newest["text"])


def _last_lines(text: str, lines: int) -> str:
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
