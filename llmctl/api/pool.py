"""Connections to one hub: as many as there are turns at the same time, whichever threads they are in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

from llmctl.core.errors import StorageError, UsageError
from llmctl.store import opening, write_spool
from llmctl.store.database import Database


class Pool:
    """Lends connections, opens one where none is idle, and keeps those that come back.

    A generator may be gone on with in another thread than it began in: so a connection belongs to a turn, and to no
    thread. A hub in memory has one connection, for one thread.
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

    def open(self, *, create: bool, prepare: opening.Prepare) -> None:
        """Open the first connection; make the hub where it is missing."""
        database = opening.open_hub(self._path, "create" if create else "write", prepare=prepare)
        if any(map(os.path.exists, write_spool.places(database.path, self._spool_folder))):
            write_spool.take_in(database, self._spool_folder)
        self._idle.append(database)

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """Lend a connection for the block."""
        if self._path == opening.MEMORY:
            yield self._only()
            return
        database = self._taken()
        try:
            yield database
        finally:
            self._give_back(database)

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Lend one that can be spoiled for writing."""
        if self._path == opening.MEMORY:
            yield self._only()
            return
        database = opening.open_hub(self._path, "read")
        try:
            yield database
        finally:
            database.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()

    def _taken(self) -> Database:
        with self._lock:
            if self._is_closed:
                raise StorageError("the hub is closed", reason="closed")
            if self._process != os.getpid():
                # A connection must not be used, nor closed, by a child: https://www.sqlite.org/howtocorrupt.html
                self._parents += self._idle
                self._idle, self._process = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return opening.open_hub(self._path, "write")

    def _give_back(self, database: Database) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(database)
                return
        database.close()

    def _only(self) -> Database:
        if self._is_closed or not self._idle:
            raise StorageError("the hub is closed", reason="closed")
        if get_ident() != self._thread:
            raise UsageError("a hub in memory belongs to the thread that made it", hint="give it a file")
        return self._idle[0]
