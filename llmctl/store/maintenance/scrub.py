"""Remove a secret from a whole hub: every table, the search index, free pages. It is logged without the secret."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import StorageError, UsageError
from llmctl.core.secret_matcher import MARK, SecretMatcher
from llmctl.core.stored_values import new_id
from llmctl.store import compact
from llmctl.store.database import Database, Insert, quote
from llmctl.store.maintenance import backup
from llmctl.store.maintenance.integrity import vacuum
from llmctl.store.opening import MEMORY
from llmctl.store.schema import ddl, objects

#: Called with the name of the table being searched.
OnTable = Callable[[str], None]
Key = tuple[Any, ...]

_WINDOW_BYTES = 1 << 20
#: Compressed columns: their text is searched, and compressed again.
_COMPRESSED = ("raw_output_gz", "text_gz")
#: Table -> what else makes a row a candidate: a secret may be split over the events of a stream.
_ALWAYS = {
    "response_streams": ("raw_output IS NOT NULL", "raw_output_gz IS NOT NULL"),
    "bodies": ("text_gz IS NOT NULL",),
}


@dataclass(slots=True)
class ScrubResult:
    """Number of changed values by ``table.column``."""

    places: dict[str, int] = field(default_factory=dict)

    @property
    def values(self) -> int:
        return sum(self.places.values())

    def count(self, table: str, column: str) -> None:
        place = f"{table}.{column}"
        self.places[place] = self.places.get(place, 0) + 1


#: Text of which an answer in the cache may be made: such an answer is not used again once it was changed.
_FORGET_ANSWER = {
    name: f"UPDATE {{requests}} SET cache_key = NULL WHERE id = (SELECT {column} FROM {{{name}}} WHERE rowid = ?)"
    for name, column in (("response_streams", "request_id"), ("network_calls", "request_id"), ("requests", "id"))
} | {
    "messages": "UPDATE {requests} SET cache_key = NULL WHERE message_id = (SELECT id FROM {messages} WHERE rowid = ?)"
}


class _ScrubRollback(Exception):
    """Rolls a dry run back."""


def scrub(
    database: Database, value: str, *, dry_run: bool = False, progress: OnTable = lambda table: None
) -> ScrubResult:
    """Replace a secret by ``[scrubbed]`` everywhere, then rewrite the file so that no page contains it.

    The only exception to immutable history. With ``dry_run`` changes are counted and rolled back.
    """
    secret = SecretMatcher(value)
    done = ScrubResult()
    with suppress(_ScrubRollback), database.transaction(durable=True):
        _scrub(database, secret, done, progress)
        if dry_run:
            raise _ScrubRollback
        objects.rebuild_search(database.connection)
    if not dry_run:
        progress("")
        vacuum(database)
    return done


def find_files_containing(path: str, value: str) -> list[str]:
    """Return the files of a hub and its backups that still contain a secret.

    This process must have no open connection to it: closing a file drops the locks that SQLite holds on it.
    """
    secret = SecretMatcher(value)
    files = [] if path == MEMORY else [path, f"{path}-wal", f"{path}.spool", *backup.list_backups(path)]
    return [file for file in files if os.path.exists(file) and _file_contains(file, secret)]


def _scrub(database: Database, secret: SecretMatcher, done: ScrubResult, progress: OnTable) -> None:
    # The trigger that makes history immutable checks this key.
    objects.set_meta(database.connection, "scrubbing", clock.now())
    database.execute("PRAGMA defer_foreign_keys=ON")  # a key and its references change one after the other
    for table in _tables(database):
        progress(table.name)
        for key in _candidates(database, table, secret):
            _scrub_row(database, table, key, secret, done)
    _scrub_chunks(database, secret, done)
    _scrub_logs(database, secret, done)
    objects.set_meta(database.connection, "scrubbing", None)
    _log_result(database, done)


class _ScrubTable:
    """A table: its physical name, its row key, and the columns that can hold text."""

    def __init__(self, connection: sqlite3.Connection, name: str, logical: str) -> None:
        self.name = name
        self.logical = logical
        rows = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
        columns = [(row[1], row[2].upper(), row[5], row[6]) for row in rows]
        self.columns = [column for column, type_, _, hidden in columns if type_ != "DATETIME" and not hidden]
        keys = sorted((place, column) for column, _, place, _ in columns if place)
        self.key = ["rowid"] if _has_rowid(connection, name) else [quote(column) for _, column in keys]


def _tables(database: Database) -> list[_ScrubTable]:
    """Return every ordinary table; the roll-ups last, since triggers update them with the ledger."""
    connection = database.connection
    logical = {physical: name for name, physical in database.names.items()}
    virtual = [t.name for t in objects.list_objects(connection) if t.sql.upper().startswith("CREATE VIRTUAL")]
    names = [t.name for t in objects.list_objects(connection) if t.kind == "table" and t.name not in virtual]
    own = [name for name in names if not any(name.startswith(f"{other}_") for other in virtual)]
    tables = [_ScrubTable(connection, name, logical.get(name, name)) for name in own if not name.startswith("sqlite_")]
    return sorted(tables, key=lambda table: table.logical in ddl.DERIVED_TABLES)


def _has_rowid(connection: sqlite3.Connection, name: str) -> bool:
    try:
        connection.execute(f"SELECT rowid FROM {quote(name)} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def _candidates(database: Database, table: _ScrubTable, secret: SecretMatcher) -> list[Key]:
    """Return the keys of rows with any form of the secret. Streams are always included: it may be split over events."""
    condition = " OR ".join(_contains_condition(quote(column), len(secret.forms)) for column in table.columns) or "0"
    condition += "".join(f" OR {text}" for text in _ALWAYS.get(table.logical, ()))
    sql = f"SELECT {', '.join(table.key)} FROM {quote(table.name)} WHERE {condition}"
    values: dict[str, Any] = {f"t{i}": form for i, form in enumerate(secret.forms)}
    values |= {f"b{i}": form.encode() for i, form in enumerate(secret.forms)}
    return database.connection.execute(sql, values).fetchall()


def _contains_condition(column: str, forms: int) -> str:
    texts = " OR ".join(f"instr({column}, :t{i})" for i in range(forms))
    blobs = " OR ".join(f"instr({column}, :b{i})" for i in range(forms))
    return f"CASE typeof({column}) WHEN 'text' THEN {texts} WHEN 'blob' THEN {blobs} END"


def _scrub_row(database: Database, table: _ScrubTable, key: Key, secret: SecretMatcher, done: ScrubResult) -> None:
    where = " AND ".join(f"{column} = ?" for column in table.key)
    names = ", ".join(map(quote, table.columns))
    row = database.connection.execute(f"SELECT {names} FROM {quote(table.name)} WHERE {where}", key).fetchone()
    if row is None:  # deleted with its parent
        return
    changes = {
        column: after
        for column, before in zip(table.columns, row, strict=True)
        if (after := _scrub_column(column, before, secret)) != before
    }
    for column in changes:
        done.count(table.logical, column)
    if changes and table.logical == "bodies":
        changes["hash"] = f"scrubbed {new_id()}"  # that of the text would tell whether a guess is right
    if changes:
        _update(database, table, where, key, changes)
        if table.logical in _FORGET_ANSWER:
            database.execute(_FORGET_ANSWER[table.logical], key)


def _scrub_column(column: str, value: Any, secret: SecretMatcher) -> Any:
    if column not in _COMPRESSED or value is None:
        return _scrub_value(value, secret, streamed=column == "raw_output")
    text = compact.decompress(value).decode("utf-8", "replace")
    after = _scrub_value(text, secret, streamed=column == "raw_output_gz")
    return value if after == text else compact.compress(after)


def _scrub_value(value: Any, secret: SecretMatcher, *, streamed: bool) -> Any:
    match value:
        case str():
            return secret.scrub_stream(value) if streamed else secret.scrub_text(value)
        case bytes():
            return secret.scrub_bytes(value)
        case _:
            return value


def _update(database: Database, table: _ScrubTable, where: str, key: Key, changes: Mapping[str, Any]) -> None:
    """Update a row. If the secret was a unique name, the mark gets a number."""
    assignments = ", ".join(f"{quote(column)} = ?" for column in changes)
    sql = f"UPDATE {quote(table.name)} SET {assignments} WHERE {where}"
    for number in range(1, 1000):
        values = changes.values() if number == 1 else _add_number(changes.values(), number)
        try:
            database.connection.execute(sql, [*values, *key])
            return
        except sqlite3.IntegrityError as error:
            if "UNIQUE" not in str(error):
                raise UsageError(
                    f'cannot remove the secret from "{table.logical}": {error}',
                    hint="nothing was changed; check that it really is a secret",
                ) from error
    raise StorageError(f'too many rows of "{table.logical}" have the secret as their name')


def _add_number(values: Iterable[Any], number: int) -> list[Any]:
    return [value.replace(MARK, f"{MARK[:-1]} {number}]") if isinstance(value, str) else value for value in values]


def _scrub_chunks(database: Database, secret: SecretMatcher, done: ScrubResult) -> None:
    """Remove the secret from running streams, even if split over chunks."""
    streams = database.query("SELECT DISTINCT stream_id AS id FROM {stream_chunks}")
    for stream in streams:
        rows = database.query(
            "SELECT rowid, data FROM {stream_chunks} WHERE stream_id = ? ORDER BY seq", (stream["id"],)
        )
        whole = b"".join(row["data"] for row in rows).decode("utf-8", "surrogateescape")
        clean = secret.scrub_stream(whole)
        if clean == whole:
            continue
        # Chunk boundaries are lost with the secret: the first chunk gets all the text.
        data = [clean.encode("utf-8", "surrogateescape"), *[b""] * (len(rows) - 1)]
        for row, piece in zip(rows, data, strict=True):
            database.execute("UPDATE {stream_chunks} SET data = ? WHERE rowid = ?", (piece, row["rowid"]))
        done.count("stream_chunks", "data")


def _scrub_logs(database: Database, secret: SecretMatcher, done: ScrubResult) -> None:
    """Remove the secret from long logs, even if split over two rows."""
    series = database.query("SELECT DISTINCT series_id AS id FROM {text_logs} WHERE series_id IS NOT NULL")
    for log in series:
        rows = database.query(
            "SELECT rowid, text FROM {text_logs} WHERE id = :id OR series_id = :id ORDER BY position", log
        )
        for row, text in zip(rows, secret.scrub_pieces([row["text"] for row in rows]), strict=True):
            if text != row["text"]:
                database.execute("UPDATE {text_logs} SET text = ? WHERE rowid = ?", (text, row["rowid"]))
                done.count("text_logs", "text")


def _log_result(database: Database, done: ScrubResult) -> None:
    places = ", ".join(f"{place} {count}" for place, count in done.places.items()) or "nowhere"
    now = clock.now()
    text = f"a secret was scrubbed; values changed: {places}"
    row = {"id": new_id(), "text": text, "refs": "{}", "created_at": now, "updated_at": now}
    database.commit(Insert("text_logs", row))


def _file_contains(file: str, secret: SecretMatcher) -> bool:
    forms = [form.encode() for form in secret.forms]
    overlap = max(map(len, forms))
    with open(file, "rb") as opened:
        window = opened.read(_WINDOW_BYTES)
        while window:
            if any(form in window for form in forms):
                return True
            piece = opened.read(_WINDOW_BYTES)
            window = window[-overlap:] + piece if piece else b""
    return False
