"""Records are written in transactions that hold whole conversations: what is killed leaves nothing half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain

from llmctl.core.errors import IncompleteError
from llmctl.core.transfer_records import Outcome, Record
from llmctl.store.database import Database
from llmctl.store.transfer.bulk_insert import Bulk
from llmctl.store.transfer.merge import Merger
from llmctl.store.transfer.plan import SHARED_TABLES

#: Rows after which a transaction ends, as soon as a conversation does.
_ROWS = 5_000
#: Bytes of text after which it does, too; and after which a conversation is no longer read in before it is written.
_BYTES = 24 << 20
#: The cache while many rows come, 32 MB; and pages of the log, 64 MB: the pages of the indices are written once for
#: many rows.
_PRAGMAS = {"cache_size": -32 << 10, "wal_autocheckpoint": 16 << 10}

#: Takes each record and what became of it.
Told = Callable[[Record, Outcome], None]


class _Undone(Exception):
    """Rolls a dry run back."""


def merge(database: Database, records: Iterable[Record], told: Told, *, dry_run: bool = False) -> int:
    """Put records into a hub; return how many references stay left out, because their rows never came.

    A transaction ends between two conversations only, and none waits for the source, unless a conversation is larger
    than memory should be. What ``records`` raises ends the import: what was committed stays; before IncompleteError
    all that is whole is written. With ``dry_run`` all is one transaction, and rolled back.
    """
    bulk = Bulk(database)
    merger = Merger(database, bulk.flush)
    lost = 0
    batches = _Batches(records)
    with _set_up_for_many(database), suppress(_Undone):
        for batch in [records] if dry_run else batches:
            with database.transaction():
                bulk.begin()
                for record in batch:
                    bulk.heed(record)
                    told(record, merger.put(record))
                lost = merger.finish() if dry_run else 0
                bulk.end()
                if dry_run:
                    raise _Undone
    if dry_run:
        database.forget_names()
        return lost
    with database.transaction():
        lost = merger.finish()
    if batches.cut:
        raise batches.cut
    return lost


class _Batches:
    """Cuts records into whole conversations, several small ones together. Each batch is used up before the next.

    What belongs to no conversation is cut anywhere: in a large hub it is more than memory should hold.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = iter(records)
        self._next: Record | None = None
        self._inside = False
        #: Requests without a conversation came, and with them what belongs to them.
        self._alone = False
        #: What said that the records broke off, once all that is whole was given.
        self.cut: IncompleteError | None = None

    def __iter__(self) -> Iterator[Iterable[Record]]:
        self._next = next(self._records, None)
        while self._next is not None:
            yield self._batch()

    def _batch(self) -> Iterable[Record]:
        """Return the next conversations as they were read; of a huge one the rest is read as it is written."""
        found: list[Record] = []
        size = whole = 0
        while self._next is not None:
            if self._is_beginning(self._next):
                whole = len(found)
                if whole >= _ROWS or size >= _BYTES:
                    return found
            if size >= _BYTES or len(found) >= 2 * _ROWS:
                return chain(found, self._rest())
            size += _size(self._next)
            try:
                found.append(self._taken())
            except IncompleteError as error:
                self.cut, self._next = error, None
                return found[:whole]
        return found

    def _rest(self) -> Iterator[Record]:
        while self._next is not None and not self._is_beginning(self._next):
            yield self._taken()

    def _taken(self) -> Record:
        record = self._next
        assert record is not None
        self._inside = self._inside or record.table == "chats"
        self._alone = record.table != "chats" and (self._alone or _is_alone(record))
        self._next = next(self._records, None)
        return record

    def _is_beginning(self, record: Record) -> bool:
        """Tell whether a conversation begins here, or a row that belongs to none: before them, or after all."""
        if record.table == "chats" or self._alone or _is_alone(record):
            return True
        return not self._inside and record.table in SHARED_TABLES


def _is_alone(record: Record) -> bool:
    return record.table == "requests" and record.row.get("chat_id") is None


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
