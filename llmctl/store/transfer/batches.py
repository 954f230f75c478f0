"""Merge records in transactions of whole conversations, so that a killed import leaves no partial one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain

from llmctl.core.errors import IncompleteError
from llmctl.core.transfer_records import ImportRow, MergeResult
from llmctl.store.database import Database
from llmctl.store.transfer.bulk_insert import BulkInsert
from llmctl.store.transfer.merge import Merger
from llmctl.store.transfer.read import SHARED_TABLES

#: Rows after which a transaction ends, at the next end of a conversation.
_BATCH_ROWS = 5_000
#: Bytes of text after which it ends, too; a larger conversation is written while it is read.
_BATCH_BYTES = 24 << 20
#: For bulk writes: a cache of 32 MB and a WAL of 64 MB, so that index pages are written once for
#: many rows.
_PRAGMAS = {"cache_size": -32 << 10, "wal_autocheckpoint": 16 << 10}

#: Called with each record and its result.
OnRecord = Callable[[ImportRow, MergeResult], None]


class _DryRunRollback(Exception):
    """Rolls a dry run back."""


def merge_records(
    database: Database, records: Iterable[ImportRow], on_record: OnRecord, *, dry_run: bool = False
) -> int:
    """Merge records into a hub; return the number of references dropped because their rows never came.

    A transaction ends only between two conversations, and does not wait for the source unless a conversation is larger
    than the buffer. An exception of ``records`` ends the import: committed rows stay; before IncompleteError all
    complete conversations are written. With ``dry_run`` everything is one transaction and is rolled back.
    """
    bulk = BulkInsert(database)
    merger = Merger(database, bulk.flush)
    lost = 0
    batches = _Batches(records)
    with _bulk_pragmas(database), suppress(_DryRunRollback):
        for batch in [records] if dry_run else batches:
            with database.transaction():
                bulk.begin()
                for record in batch:
                    bulk.before_insert(record)
                    on_record(record, merger.merge_record(record))
                lost = merger.finish() if dry_run else 0
                bulk.end()
                if dry_run:
                    raise _DryRunRollback
    if dry_run:
        database.clear_name_cache()
        return lost
    with database.transaction():
        lost = merger.finish()
    if batches.cut:
        raise batches.cut
    return lost


class _Batches:
    """Splits records into batches of whole conversations. Each batch must be consumed before the next.

    Records without a conversation are split anywhere: in a large hub they do not fit into memory.
    """

    def __init__(self, records: Iterable[ImportRow]) -> None:
        self._records = iter(records)
        self._next: ImportRow | None = None
        self._inside_chat = False
        #: Reading requests without a conversation, and the records that belong to them.
        self._without_chat = False
        #: The error that the records were truncated, raised after all complete batches.
        self.cut: IncompleteError | None = None

    def __iter__(self) -> Iterator[Iterable[ImportRow]]:
        self._next = next(self._records, None)
        while self._next is not None:
            yield self._batch()

    def _batch(self) -> Iterable[ImportRow]:
        """Return the next conversations; the rest of a huge one is read while it is written."""
        result: list[ImportRow] = []
        size = whole = 0
        while self._next is not None:
            if self._starts_conversation(self._next):
                whole = len(result)
                if whole >= _BATCH_ROWS or size >= _BATCH_BYTES:
                    return result
            if size >= _BATCH_BYTES or len(result) >= 2 * _BATCH_ROWS:
                return chain(result, self._rest_of_chat())
            size += _text_size(self._next)
            try:
                result.append(self._next_record())
            except IncompleteError as error:
                self.cut, self._next = error, None
                return result[:whole]
        return result

    def _rest_of_chat(self) -> Iterator[ImportRow]:
        while self._next is not None and not self._starts_conversation(self._next):
            yield self._next_record()

    def _next_record(self) -> ImportRow:
        record = self._next
        assert record is not None
        self._inside_chat = self._inside_chat or record.table == "chats"
        self._without_chat = record.table != "chats" and (self._without_chat or _has_no_chat(record))
        self._next = next(self._records, None)
        return record

    def _starts_conversation(self, record: ImportRow) -> bool:
        """Return whether a conversation starts here, or a record that belongs to none."""
        if record.table == "chats" or self._without_chat or _has_no_chat(record):
            return True
        return not self._inside_chat and record.table in SHARED_TABLES


def _has_no_chat(record: ImportRow) -> bool:
    return record.table == "requests" and record.row.get("chat_id") is None


def _text_size(record: ImportRow) -> int:
    for name in ("content", "raw_output", "text"):
        value = record.row.get(name)
        if isinstance(value, str | bytes):
            return len(value)
    return 0


@contextmanager
def _bulk_pragmas(database: Database) -> Iterator[None]:
    before = {name: database.value(f"PRAGMA {name}") for name in _PRAGMAS}
    for name, value in _PRAGMAS.items():
        database.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        for name, value in before.items():
            database.execute(f"PRAGMA {name}={value}")
