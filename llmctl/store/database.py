"""An open hub: reads as plain SQL, writes as values, and transactions that wait for locks instead of failing.

SQLite's errors about the file become StorageError here; the files of the schema are in :mod:`llmctl.store.schema.ddl`.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from llmctl.core.errors import LlmctlError, StorageError
from llmctl.core.signals import defer_signals
from llmctl.core.stored_values import loads, parse_json_or_text, to_storable
from llmctl.core.values import Value

if TYPE_CHECKING:
    from llmctl.store.lock_wait import Patience
    from llmctl.store.writer import TableWriter

#: A writer gives up when nothing was written to the hub for so long, in milliseconds.
BUSY_TIMEOUT_MS = 30_000
#: Longest single wait in SQLite, during which signals are not handled.
_BUSY_SLICE_MS = 100
#: Milliseconds to wait for readers of the WAL, which may run for hours.
_WAL_TIMEOUT_MS = 2000

#: Key of the hub's id in ``hub_meta``.
HUB_ID = "hub_id"
#: Makes SQLite notice that another process has vacuumed the hub. If the first statement does that while it connects
#: the search index for a trigger, SQLite drops the schema halfway: "no such table: messages".
_RELOAD_SCHEMA = "SELECT 1 FROM sqlite_master LIMIT 0"

Row = dict[str, Any]
Mode = Literal["read", "write", "create"]
_SLOT = re.compile(r"\{([a-z_]+)\}")


class Insert(Value):
    """A new row."""

    table: str
    row: Mapping[str, Any]


class Update(Value):
    """Changes to the row of an id; a missing row (deleted in the meantime) is not an error.

    With ``where``, applied only if these columns have these values.
    """

    table: str
    id: str
    changes: Mapping[str, Any]
    where: Mapping[str, Any] = {}


class Delete(Value):
    """Remove the rows whose columns all equal ``where``."""

    table: str
    where: Mapping[str, Any]


Write = Insert | Update | Delete

#: Table -> its column whose long texts are stored in fewer bytes, and the longest text stored as it is.
_LONG_TEXTS = {"response_streams": "raw_output", "network_calls": "body"}
_MAX_PLAIN_CHARS = 1024

#: What a write may raise because of its values or of the hub's state: no bug of the caller.
WRITE_ERRORS = (sqlite3.Error, UnicodeEncodeError, OverflowError)


class Database:
    """One hub. Reads are plain SQL with ``{table}`` slots; writes are values applied in one transaction.

    ``read`` never changes the file; ``write`` needs an existing hub and replays writes that an earlier run could
    not make; ``create`` creates a missing hub first. See :func:`llmctl.store.opening.open_hub`.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.connection = connection
        self.path = path
        #: Whether opening it has created the file.
        self.is_new = False
        #: The file before opening it upgraded the schema; None if it did not.
        self.file_before: os.stat_result | None = None
        self._id: str | None = None
        self._sql_cache: dict[str, str] = {}
        self._durable = False
        self._queue = WriteQueue(path, f"{path}-wal")

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Logical table name -> physical name, where they differ."""
        names: Mapping[str, str] = self.meta("tables", {})
        return names

    @cached_property
    def fields(self) -> Mapping[str, Mapping[str, str]]:
        """Table -> custom column -> declared type."""
        fields: Mapping[str, Mapping[str, str]] = self.meta("fields", {})
        return fields

    @property
    def id(self) -> str | None:
        """The id of the hub, which copies share; None before a program that gives ids has written to it."""
        if self._id is None and (value := self.meta(HUB_ID)) is not None:
            self._id = str(value)
        return self._id

    @property
    def version(self) -> int:
        """The version of the hub's schema."""
        version: int = self.value("PRAGMA user_version")
        return version

    def meta(self, key: str, default: Any = None) -> Any:
        """Return a value of ``hub_meta``, which holds JSON."""
        with storage_errors(self.path):
            row = self.connection.execute("SELECT value FROM hub_meta WHERE key = ?", (key,)).fetchone()
        return loads(row[0], default) if row else default

    def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[Row]:
        """Run a SELECT with ``{table}`` slots; return all rows as dicts."""
        return list(self.rows(sql, parameters))

    def rows(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Iterator[Row]:
        """Run a SELECT with ``{table}`` slots; yield row by row."""
        with storage_errors(self.path):
            cursor = self.connection.execute(self.sql(sql), parameters)
            columns = [column[0] for column in cursor.description or ()]
            for row in cursor:
                yield dict(zip(columns, row, strict=True))

    def one(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Row | None:
        """Return the first row, or None."""
        return next(self.rows(sql, parameters), None)

    def value(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        with storage_errors(self.path):
            row = self.connection.execute(self.sql(sql), parameters).fetchone()
        return row[0] if row else None

    def has_row(self, table: str, id: str) -> bool:
        """Return whether a table has a row of that id."""
        return self.value(f"SELECT 1 FROM {{{table}}} WHERE id = ?", (id,)) is not None

    def execute(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> int:
        """Run a statement with ``{table}`` slots; return the number of rows it changed."""
        with storage_errors(self.path):
            return self.connection.execute(self.sql(sql), parameters).rowcount

    def sql(self, template: str) -> str:
        """Fill the ``{table}`` slots; cached, since the same few statements recur."""
        if template not in self._sql_cache:
            self._sql_cache[template] = fill_table_slots(template, self.names)
        return self._sql_cache[template]

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Commit the block as a whole or roll it back. Signals are deferred until it ends.

        It begins IMMEDIATE: a transaction that upgrades from reading to writing would fail with "busy" at once. With
        ``durable`` it survives a power cut (``synchronous=FULL``); any commit survives the death of the process.
        Blocks nest; the outermost one commits.
        """
        if self.connection.in_transaction:
            yield
            return
        self.writer  # noqa: B018  its modules take longer to load than the transaction takes
        with ExitStack() as guard, storage_errors(self.path):
            self._set_durable(durable)
            guard.enter_context(self.write_turn())
            self._begin(guard)
            try:
                self.connection.execute(_RELOAD_SCHEMA)
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the block alone where it fails, within a running transaction; the error passes."""
        self.connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # SQLite itself rolls back all of it where the disk is full
                self.connection.execute("ROLLBACK TO part")
                self.connection.execute("RELEASE part")
            raise
        self.connection.execute("RELEASE part")

    @contextmanager
    def write_turn(self) -> Iterator[None]:
        """Wait for the turn of this process among the hub's writers, and keep the others waiting during the block."""
        try:
            self._queue.enter()
            yield
        finally:
            self._queue.leave()

    def commit(self, *writes: Write, durable: bool = False) -> None:
        """Apply writes in one transaction, or in the running one."""
        with self.transaction(durable=durable):
            for write in writes:
                self.apply(write)

    def apply(self, write: Write) -> None:
        """Apply a write in the running transaction."""
        match write:
            case Insert(table, row):
                self.writer.insert(self._physical_name(table), self.compact(table, row))
            case Update(table, id, changes, where):
                changes = self.compact(table, changes)
                assignments = ", ".join(f"{quote(column)} = ?" for column in changes)
                condition = _equals(("id", *where))
                sql = f"UPDATE {quote(self._physical_name(table))} SET {assignments} WHERE {condition}"
                self.connection.execute(sql, [*changes.values(), id, *where.values()])
            case Delete(table, where):
                self.writer.delete(self._physical_name(table), _equals(where), list(where.values()))

    def compact(self, table: str, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the columns of a row as they are stored: a long text of the ledger in fewer bytes."""
        text = columns.get(_LONG_TEXTS.get(table, ""))
        if not isinstance(text, str) or len(text) <= _MAX_PLAIN_CHARS:
            return columns
        from llmctl.store import compact  # only where there is a long text

        if table == "response_streams":
            return {**columns, "raw_output": None, "raw_output_gz": compact.compress(text)}
        rest, shared = compact.split_body(text)
        return {**columns, "body": rest, "shared_body_id": self.add_shared_body(shared)} if shared else columns

    def add_shared_body(self, shared: str) -> int:
        """Return the id of these parts in ``bodies``, where they are stored now if they were not."""
        from llmctl.store import compact

        digest = sha256(shared.encode()).hexdigest()
        known = self.value("SELECT id FROM {bodies} WHERE hash = ?", (digest,))
        if known is None:
            is_long = len(shared) > _MAX_PLAIN_CHARS
            values = (digest, None if is_long else shared, compact.compress(shared) if is_long else None)
            sql = self.sql("INSERT INTO {bodies} (hash, text, text_gz) VALUES (?, ?, ?)")
            known = self.connection.execute(sql, values).lastrowid
        return int(known)

    @cached_property
    def writer(self) -> TableWriter:
        from llmctl.store.writer import TableWriter  # sqlite-utils: not for commands that only read

        return TableWriter(self.connection)

    def close(self) -> None:
        self.connection.close()
        self._queue.close()

    def clear_name_cache(self) -> None:
        """Drop cached table names, fields and table objects after they changed."""
        for name in ("names", "fields", "writer"):
            self.__dict__.pop(name, None)
        self._sql_cache.clear()

    def _physical_name(self, table: str) -> str:
        return self.names.get(table, table)

    def _begin(self, guard: ExitStack) -> None:
        """Begin a transaction and defer signals from then on.

        SQLite does not let Python handle signals while it waits for a lock, so it waits in short slices.
        """
        patience: Patience | None = None  # made where it is needed
        self.connection.execute(f"PRAGMA busy_timeout={_BUSY_SLICE_MS}")
        try:
            while True:
                with defer_signals():
                    try:
                        self.connection.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError as error:
                        patience = patience or start_patience(self.path)
                        if "locked" not in str(error) or patience.is_over():
                            raise
                    else:
                        guard.enter_context(defer_signals())
                        return
        finally:
            self.connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    def _set_durable(self, durable: bool) -> None:
        if durable != self._durable:
            self.connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable


class WriteQueue:
    """One connection in the queue of a hub's writers: each waits for its turn instead of polling for SQLite's lock.

    A writer holds an flock on the write-ahead log, on which SQLite takes no locks. The kernel serves the writers in
    their order, and a killed one loses the lock. Other programs do not queue: the first here polls for SQLite's lock.
    Without effect where the file cannot be opened or locked.
    """

    def __init__(self, path: str, lock_file: str) -> None:
        self._path = path
        self._lock_file = lock_file
        self._fd: int | None = None

    def enter(self) -> None:
        """Wait for the turn of this connection; return without it when nothing was written for too long."""
        try:
            if self._fd is None:
                self._fd = os.open(self._lock_file, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        except OSError:
            self.close()

    def leave(self) -> None:
        """Let the next one write."""
        if self._fd is not None:
            with suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; the connection may enter again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _wait(self) -> None:
        from llmctl.store.lock_wait import wait_for_flock

        fd, self._fd = self._fd, None
        if fd is not None and wait_for_flock(fd, start_patience(self._path)):
            self._fd = fd


def start_patience(path: str) -> Patience:
    """Begin to wait for a hub."""
    from llmctl.store.lock_wait import Patience  # most writers never wait

    return Patience(path, BUSY_TIMEOUT_MS)


class Serializer:
    """Converts rows of one table to records by the declared types of its columns, custom ones included."""

    def __init__(self, database: Database, table: str) -> None:
        columns = database.query(f"PRAGMA table_info({{{table}}})")
        types = {column["name"]: str(column["type"]).upper() for column in columns}
        self._json = [name for name, declared in types.items() if declared.startswith("JSON") and name != "refs"]
        self._booleans = [name for name, declared in types.items() if declared.startswith("BOOL")]

    def to_record(self, row: Row) -> Row:
        """Return the row, which may have more columns, as a record; column order is preserved."""
        result = dict(row)
        if "refs" in row:
            result = {"id": row["id"], "references": parse_json_or_text(row["refs"]) or {}, **row}
            del result["refs"]
        for name in self._json:
            if result.get(name) is not None:
                result[name] = parse_json_or_text(result[name])
        for name in self._booleans:
            if result.get(name) is not None:
                result[name] = bool(result[name])
        return result


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def fill_table_slots(sql: str, names: Mapping[str, str]) -> str:
    """Return SQL of the program with its ``{table}`` slots filled with a hub's names."""
    return _SLOT.sub(lambda match: quote(names.get(match[1], match[1])), sql)


def _equals(columns: Iterable[str]) -> str:
    """Return the condition that each of these columns equals a parameter."""
    return " AND ".join(f"{quote(column)} = ?" for column in columns)


def to_storable_write(write: Write) -> Write:
    """Return a write whose values every database takes: see :func:`llmctl.core.stored_values.to_storable`."""
    match write:
        case Insert(table, row):
            return Insert(table, to_storable_row(row))
        case Update(table, id, changes, where):
            return Update(table, id, to_storable_row(changes), where)
    return write


def to_storable_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without lone surrogates and numbers that SQLite cannot hold."""
    return {name: _to_storable_cell(value) for name, value in values.items()}


def _to_storable_cell(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > 63:
        return None
    return to_storable(value)


def empty_wal(connection: sqlite3.Connection) -> bool:
    """Checkpoint and truncate the WAL; return False if another process still reads it."""
    waited = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout={_WAL_TIMEOUT_MS}")
    try:
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout={waited}")
    return not busy


#: SQLite makes the index of the write-ahead log in pieces of this size.
_WAL_INDEX_BYTES = 32_768
_TRANSLATIONS = (
    (
        "database or disk is full",
        'the disk is full: "{path}"',
        "free some space; nothing in the hub was damaged",
        "disk_full",
    ),
    (
        "readonly database",
        'the hub "{path}" is read-only',
        "check the file, its folder and the file system, or use --db",
        "read_only",
    ),
    (
        "file is not a database",
        '"{path}" is not a SQLite database',
        "choose another file with --db or LLMCTL_DB",
        "not_a_hub",
    ),
    (
        "malformed",
        'the hub "{path}" is damaged',
        "restore a backup: llmctl db restore FILE; or try: sqlite3 {path} .recover",
        "corrupt",
    ),
    (
        "unable to open database file",
        'cannot open the hub "{path}"',
        "check that its folder exists and is readable",
        "cannot_open",
    ),
    (
        "disk I/O error",
        'cannot read or write the hub "{path}": disk error',
        "check the disk and the space on it",
        "io_error",
    ),
    (
        "attempt to write",
        'the hub "{path}" is read-only',
        "check the file, its folder and the file system, or use --db",
        "read_only",
    ),
)


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Translate SQLite's errors about the file to :class:`StorageError`; others pass: they are bugs."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise translate_error(error, path) from error


def file_identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another at the same path; None where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def write_error(path: str, error: Exception) -> StorageError:
    """Return the StorageError for any of ``WRITE_ERRORS``, also for one that SQLite does not blame on the file."""
    known = translate_error(error, path) if isinstance(error, sqlite3.DatabaseError) else error
    if isinstance(known, StorageError):
        return known
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f'cannot write to the hub "{path}": {error}', hint="run: llmctl db check", reason=name.lower())


def translate_error(error: sqlite3.DatabaseError, path: str) -> LlmctlError | sqlite3.DatabaseError:
    """Return the StorageError for an error about the file, or the error unchanged."""
    text = str(error)
    if "disk I/O error" in text and is_disk_full(path):  # there is no space for the WAL index
        text = "database or disk is full"
    if "database is locked" in text:
        return _locked_error(path)
    if damaged := re.match(r"Could not decode to UTF-8 column '(.*?)' with text", text):
        return StorageError(
            f'the hub "{path}" has damaged text in the column "{damaged[1]}"',
            hint="list the damaged places: llmctl db check",
            reason="corrupt",
        )
    for part, message, hint, reason in _TRANSLATIONS:
        if part in text:
            return StorageError(message.format(path=path), hint=hint.format(path=path), reason=reason)
    return error


def is_disk_full(path: str) -> bool:
    """Return whether there is no space for an index of the write-ahead log, which reading needs, too."""
    try:
        space = os.statvfs(os.path.dirname(os.path.abspath(path)))
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _WAL_INDEX_BYTES


def _locked_error(path: str) -> StorageError:
    from llmctl.store.lock_wait import find_lock_holder  # only where waiting was no use

    holder = find_lock_holder(path)
    if holder is None:
        return StorageError(
            f'the hub "{path}" is locked by another program',
            hint="close the program that locks it, such as a database browser, and try again",
            reason="busy",
        )
    return StorageError(
        f'the hub "{path}" is locked by process {holder.pid} ({holder.command})',
        hint=f"wait until it ends and try again, or end it: kill {holder.pid}",
        reason="busy",
    )
