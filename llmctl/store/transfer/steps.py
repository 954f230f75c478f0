"""Records are written in transactions that hold whole conversations: what is killed leaves nothing half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from llmctl.core.bundle import Outcome, Record
from llmctl.store.database import Database
from llmctl.store.transfer.bulk import Bulk
from llmctl.store.transfer.merging import Merger
from llmctl.store.transfer.plan import SHARED_TABLES

#: Rows after which a transaction ends, as soon as a conversation does.
_ROWS = 5_000
#: Bytes of text after which it does, too.
_BYTES = 32 << 20
#: Pages of the cache and of the log while many rows come: 48 MB, 16 MB.
_PRAGMAS = {"cache_size": -48 << 10, "wal_autocheckpoint": 4 << 10}

#: Takes each record and what became of it.
Told = Callable[[Record, Outcome], None]


class _Undone(Exception):
    """Rolls a dry run back."""


def merge(database: Database, records: Iterable[Record], told: Told, *, dry_run: bool = False) -> int:
    """Put records into a hub; return how many references stay left out, because their rows never came.

    A transaction ends between two conversations only. What ``records`` raises ends the import: what was committed
    stays, the conversation it was in goes. With ``dry_run`` all is one transaction, and rolled back.
    """
    lost = 0
    with _set_up_for_many(database):
        step = _Step(database, endless=dry_run)
        try:
            with step:
                for record in records:
                    step.put(record, told)
                lost = step.merger.finish()
                if dry_run:
                    raise _Undone
        except _Undone:
            database.forget_names()
    return lost


class _Step:
    """The transaction that is open, and when the next one begins."""

    def __init__(self, database: Database, *, endless: bool) -> None:
        self._database = database
        self._endless = endless
        self._open = ExitStack()
        self._bulk = Bulk(database)
        self._rows = self._bytes = 0
        self._inside = False
        self.merger = Merger(database, self._bulk.flush)

    def put(self, record: Record, told: Told) -> None:
        if self._is_full() and self._is_beginning(record):
            self._end()
            self._begin()
        self._inside = self._inside or record.table == "chats"
        self._rows += 1
        self._bytes += _size(record)
        told(record, self.merger.put(record))

    def _is_beginning(self, record: Record) -> bool:
        """Tell whether a conversation begins here, or a row that belongs to none: before them, or after all."""
        if record.table == "chats":
            return True
        if record.table == "requests":
            return record.row.get("chat_id") is None
        return not self._inside and record.table in SHARED_TABLES

    def _is_full(self) -> bool:
        return not self._endless and (self._rows >= _ROWS or self._bytes >= _BYTES)

    def _begin(self) -> None:
        self._open.enter_context(self._database.transaction())
        self._rows = self._bytes = 0
        self._bulk.begin()

    def _end(self) -> None:
        self._bulk.end()
        self._open.close()

    def __enter__(self) -> _Step:
        try:
            self._begin()
        except BaseException as error:
            self._open.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if kind is None:
            self._end()
        else:
            self._open.__exit__(kind, error, traceback)


def _size(record: Record) -> int:
    for name in ("content", "raw_output", "text"):
        value = record.row.get(name)
        if isinstance(value, str | bytes):
            return len(value)
    return 0


@contextmanager
def _set_up_for_many(database: Database) -> Iterator[None]:
    before = {name: database.value(f"PRAGMA {name}") for name in _PRAGMAS}
    for name, value in _PRAGMAS.items():
        database.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        for name, value in before.items():
            database.execute(f"PRAGMA {name}={value}")
