"""A pool of connections to one hub: one per concurrent turn, regardless of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

from llmctl.core.errors import StorageError, UsageError
from llmctl.store import opening, write_spool
from llmctl.store.database import Database


class ConnectionPool:
    """Lends connections, opens one if none is idle, and reuses those that are returned.

    A generator may be resumed in another thread than it started in, so a connection belongs to a turn, not to a
    thread. An in-memory hub has one connection, for one thread.
    """

    def __init__(self, path: str, spool_folder: str | None) -> None:
        self._path = path
        self._spool_folder = spool_folder
        self._idle: list[Database] = []
        self._lock = Lock()
        self._thread = get_ident()
        self._process = os.getpid()
        self._parents: list[Database] = []
        self._is_closed = False

    @property
    def is_in_memory(self) -> bool:
        return self._path == opening.MEMORY

    def open(self, *, create: bool, prepare: opening.Prepare) -> None:
        """Open the first connection; with ``create``, create a missing hub."""
        database = opening.open_hub(self._path, "create" if create else "write", prepare=prepare)
        if opening.has_spool(database.path, self._spool_folder):
            write_spool.replay(database, self._spool_folder)
        self._idle.append(database)

    @contextmanager
    def connection(self) -> Iterator[Database]:
        """Lend a connection for the block."""
        if self._path == opening.MEMORY:
            yield self._memory_connection()
            return
        database = self._acquire()
        try:
            yield database
        finally:
            self._release(database)

    @contextmanager
    def readonly_connection(self) -> Iterator[Database]:
        """Lend a connection that only reads."""
        if self._path == opening.MEMORY:
            yield self._memory_connection()
            return
        database = opening.open_hub(self._path, "read")
        try:
            yield database
        finally:
            database.close()

    def close(self) -> None:
        """Close idle connections; lent ones are closed when they are returned."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()

    def _acquire(self) -> Database:
        with self._lock:
            if self._is_closed:
                raise StorageError("the hub is closed", reason="closed")
            if self._process != os.getpid():
                # A child process must neither use nor close it: https://www.sqlite.org/howtocorrupt.html
                self._parents += self._idle
                self._idle, self._process = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return opening.open_hub(self._path, "write")

    def _release(self, database: Database) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(database)
                return
        database.close()

    def _memory_connection(self) -> Database:
        if self._is_closed or not self._idle:
            raise StorageError("the hub is closed", reason="closed")
        if get_ident() != self._thread:
            raise UsageError(
                "an in-memory hub can only be used by the thread that created it", hint="store the hub in a file"
            )
        return self._idle[0]
