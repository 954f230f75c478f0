"""An open hub: its connection, its table names, and transactions that wait for locks instead of failing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from llmctl.core.signals import defer_signals
from llmctl.core.stored_json import loads
from llmctl.store.errors import storage_errors
from llmctl.store.schema import ddl
from llmctl.store.writes import Write

if TYPE_CHECKING:
    from llmctl.store.writer import Writer


#: How long a writer waits for another writer, in milliseconds.
BUSY_TIMEOUT_MS = 30_000

#: Longest single wait in SQLite, during which signals are not handled.
_BUSY_SLICE_MS = 100

Row = dict[str, Any]
Mode = Literal["read", "write", "create"]


class Database:
    """One hub. Reads are plain SQL with ``{table}`` slots; writes are values applied in one transaction.

    ``read`` never changes the file; ``write`` needs an existing hub and replays writes that an earlier run could
    not make; ``create`` creates a missing hub first. See :func:`llmctl.store.opening.open_hub`.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.connection = connection
        self.path = path
        self._sql_cache: dict[str, str] = {}
        self._durable = False

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

    def execute(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> int:
        """Run a statement with ``{table}`` slots; return the number of rows it changed."""
        with storage_errors(self.path):
            return self.connection.execute(self.sql(sql), parameters).rowcount

    def sql(self, template: str) -> str:
        """Fill the ``{table}`` slots; cached, since the same few statements recur."""
        if template not in self._sql_cache:
            self._sql_cache[template] = ddl.fill_table_slots(template, self.names)
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
        with ExitStack() as guard, storage_errors(self.path):
            self._set_durable(durable)
            self._begin(guard)
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def commit(self, *writes: Write, durable: bool = False) -> None:
        """Apply writes in one transaction, or in the running one."""
        with self.transaction(durable=durable):
            for write in writes:
                self.writer.apply(write)

    @cached_property
    def writer(self) -> Writer:
        from llmctl.store.writer import Writer  # sqlite-utils: not for commands that only read

        return Writer(self.connection, self.names)

    def close(self) -> None:
        self.connection.close()

    def clear_name_cache(self) -> None:
        """Drop cached table names, fields and table objects after they changed."""
        for name in ("names", "fields", "writer"):
            self.__dict__.pop(name, None)
        self._sql_cache.clear()

    def _begin(self, guard: ExitStack) -> None:
        """Begin a transaction and defer signals from then on.

        SQLite does not let Python handle signals while it waits for a lock, so it waits in short slices.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        self.connection.execute(f"PRAGMA busy_timeout={_BUSY_SLICE_MS}")
        try:
            while True:
                with defer_signals():
                    try:
                        self.connection.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError as error:
                        if "locked" not in str(error) or time.monotonic() > deadline:
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


#: Milliseconds to wait for readers of the WAL, which may run for hours.
_WAL_TIMEOUT_MS = 2000


def empty_wal(connection: sqlite3.Connection) -> bool:
    """Checkpoint and truncate the WAL; return False if another process still reads it."""
    waited = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout={_WAL_TIMEOUT_MS}")
    try:
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout={waited}")
    return not busy
