"""Commit many exchanges with models in groups: for bulk work, which shows nobody anything before it is committed.

The rows are those of a turn, built by :mod:`llmctl.engine.turn.records`, with the same triggers. A commit each costs
0.9 ms of CPU and a flush of the disk; in groups of 50 to 200 it is half of that, and one flush for all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from sqlite3 import DatabaseError
from threading import Condition
from types import TracebackType
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import BudgetError, LlmctlError, StorageError
from llmctl.core.http import HttpRequest
from llmctl.core.redaction import Redaction
from llmctl.core.signals import block_signals
from llmctl.core.values import Value
from llmctl.engine.billing.cost import Reservation
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.turn.recorder import CallRecorder, RecorderPlan
from llmctl.engine.turn.state import Attempt, CallState, TurnIds
from llmctl.store.database import (
    WRITE_ERRORS,
    Database,
    Delete,
    Insert,
    Update,
    Write,
    file_identity,
    to_storable_write,
    translate_error,
    write_error,
)
from llmctl.store.opening import MEMORY, open_sibling

#: Entries of a group at most, and seconds from one commit to the next where fewer are waiting.
GROUP_SIZE = 200
MAX_DELAY_S = 0.05

#: Columns of a request that lead to its answer.
_LINKS = ("thread_id", "message_id")

#: Called in the recorder's thread once an entry is committed, or with the error that it is not.
OnCommit = Callable[[LlmctlError | None], object]


class RecorderEntry(Value):
    """Writes that are committed together, and what is done then."""

    writes: Sequence[Write]
    on_commit: OnCommit | None = None
    #: Checked and made within the transaction of the writes.
    reservation: Reservation | None = None
    #: Whether something was sent already: then the writes go to the spool where the hub does not take them.
    is_sent: bool = True


class GroupRecorder:
    """Commits entries in their order, in one thread with a connection of its own.

    ``with GroupRecorder(database, runtime) as recorder:`` – leaving the block commits what is waiting. An exchange is
    two entries: :meth:`begin` its intention, and send once ``on_commit`` says that it is committed; then
    :meth:`record` what was received. What was received elsewhere (a batch, an import) is one entry: its rows may be
    those of a beginning, followed by the updates of its end, which are joined to one insert each.

    Where the hub takes no rows (``storage_error``), nothing begins any more, and what was sent goes to the spool, as in
    a turn.
    """

    def __init__(
        self,
        database: Database,
        runtime: RuntimeEnv,
        *,
        group_size: int = GROUP_SIZE,
        max_delay_s: float = MAX_DELAY_S,
        job_id: str | None = None,
    ) -> None:
        self._path = database.path
        #: An in-memory hub has one connection: nobody else may write while the recorder is open.
        self._database = open_sibling(database)
        self._database.writer.keep_statements()
        self._runtime = runtime
        self._group_size = group_size
        self._max_delay_s = max_delay_s
        self._job_id = job_id
        self._file = file_identity(self._path)
        self._waiting: deque[RecorderEntry] = deque()
        self._changed = Condition()
        #: Entries taken so far, and of these the committed or refused ones; one counts from its callback on.
        self._taken = 0
        self._done = 0
        self._is_urgent = False
        self._is_closed = False
        self._last_commit_at = 0.0
        self._spooled_to: str | None = None
        #: Why the hub takes no more rows.
        self.storage_error: StorageError | None = None
        self._thread = ThreadPoolExecutor(1, "recorder")
        with block_signals():
            self._run_result: Future[None] = self._thread.submit(self._run)

    def __enter__(self) -> GroupRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def begin(
        self, writes: Iterable[Write], on_commit: OnCommit | None = None, reservation: Reservation | None = None
    ) -> None:
        """Commit the intention of an exchange soon; ``on_commit`` gets None, and then it may be sent.

        It gets a BudgetError where the reservation exceeds a limit, and a StorageError where the hub takes no rows:
        nothing was written then.
        """
        self._add(RecorderEntry(tuple(writes), on_commit, reservation, is_sent=False))

    def record(self, writes: Iterable[Write], on_commit: OnCommit | None = None) -> None:
        """Commit what was received soon; ``on_commit`` gets a StorageError where it went to the spool, or nowhere."""
        self._add(RecorderEntry(join_writes(writes), on_commit))

    def flush(self) -> None:
        """Commit what is waiting, and return when its callbacks have returned."""
        with self._changed:
            goal = self._taken
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= goal or self._run_result.done())
        self.require_running()

    def require_running(self) -> None:
        """Raise what has ended the thread: a bug."""
        if self._run_result.done():
            self._run_result.result()

    def close(self) -> None:
        """Commit what is waiting and end the thread. Raises what a callback raised."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.shutdown()
        self._database.close()
        self._run_result.result()

    @property
    def spool_hint(self) -> str:
        """What became of rows that the hub did not take."""
        if self._spooled_to is None:
            return "the missing rows could not be saved anywhere"
        return f"the missing rows are in {self._spooled_to}; the next run adds them to the hub"

    def _add(self, entry: RecorderEntry) -> None:
        with self._changed:
            self._waiting.append(entry)
            self._taken += 1
            if len(self._waiting) in (1, self._group_size):
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            while group := self._next_group():
                outcome = self._commit(group)
                self._last_commit_at = time.monotonic()
                for entry, error in zip(group, outcome, strict=True):
                    if entry.on_commit:
                        entry.on_commit(error)
                with self._changed:
                    self._done += len(group)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._changed.notify_all()

    def _next_group(self) -> list[RecorderEntry]:
        """Wait for entries and return the next ones; none: the recorder is closed."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_closed)
            due_at = self._last_commit_at + self._max_delay_s
            while not self._is_due() and (left := due_at - time.monotonic()) > 0:
                self._changed.wait(left)
            self._is_urgent = self._is_urgent and len(self._waiting) > self._group_size
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._group_size))]

    def _is_due(self) -> bool:
        return len(self._waiting) >= self._group_size or self._is_urgent or self._is_closed

    def _commit(self, group: Sequence[RecorderEntry]) -> list[LlmctlError | None]:
        """Commit a group; return the error of each entry."""
        if self.storage_error is None:
            try:
                return self._retry_refused(group, self._write(group))
            except StorageError as error:
                self.storage_error = error
            except WRITE_ERRORS:  # of one entry's values, or of a schema that has changed: one by one
                self._database.clear_name_cache()
                try:
                    return self._write(group, one_by_one=True)
                except (StorageError, *WRITE_ERRORS) as error:
                    self.storage_error = write_error(self._path, error)
        self._spool(group)
        return [self.storage_error] * len(group)

    def _retry_refused(
        self, group: Sequence[RecorderEntry], outcome: list[LlmctlError | None]
    ) -> list[LlmctlError | None]:
        """Try again what did not fit under a limit, where a dead process held a part of it."""
        if not any(isinstance(error, BudgetError) for error in outcome):
            return outcome
        from llmctl.engine import recovery  # only where a dead process may hold a reservation

        if not recovery.recover_dead_reservations(self._database):
            return outcome
        refused = [number for number, error in enumerate(outcome) if isinstance(error, BudgetError)]
        for number, error in zip(refused, self._write([group[number] for number in refused]), strict=True):
            outcome[number] = error
        return outcome

    def _write(self, group: Sequence[RecorderEntry], *, one_by_one: bool = False) -> list[LlmctlError | None]:
        """Write a group in one transaction; return the errors of entries that are not part of it.

        Raises StorageError, and any of ``WRITE_ERRORS`` for an entry's values: those leave out only their entry where
        it is done ``one_by_one``. Then nothing was written.
        """
        reserved: list[Reservation] = []
        write = self._write_alone if one_by_one else self._write_entry
        try:
            with self._database.transaction(durable=True):
                self._require_hub()
                return [write(entry, reserved) for entry in group]
        except BaseException:
            for reservation in reserved:
                reservation.cancel()
            raise

    def _write_entry(self, entry: RecorderEntry, reserved: list[Reservation]) -> LlmctlError | None:
        if entry.reservation is not None:
            try:
                entry.reservation.reserve(self._database)
            except BudgetError as error:
                return error
            reserved.append(entry.reservation)
        for write in entry.writes:
            self._database.apply(write)
        return None

    def _write_alone(self, entry: RecorderEntry, reserved: list[Reservation]) -> LlmctlError | None:
        """Write an entry with values that every hub takes; return the error of one that it does not take even so."""
        count = len(reserved)
        try:
            with self._database.savepoint():
                storable = tuple(map(to_storable_write, entry.writes))
                return self._write_entry(entry.replace(writes=storable), reserved)
        except WRITE_ERRORS as error:
            if isinstance(error, DatabaseError) and translate_error(error, self._path) is not error:
                raise  # the file, not the values
            for reservation in reserved[count:]:
                reservation.cancel()
            del reserved[count:]
            self.storage_error = write_error(self._path, error)
            self._spool([entry])
            return self.storage_error

    def _require_hub(self) -> None:
        """Raise StorageError where the path leads to another file by now, or the job is gone (a restore)."""
        is_same = self._path == MEMORY or file_identity(self._path) == self._file
        if is_same and (self._job_id is None or self._database.has_row("jobs", self._job_id)):
            return
        message = f'the hub "{self._path}" was moved, deleted or replaced during the run'
        raise StorageError(message, reason="moved")

    def _spool(self, group: Iterable[RecorderEntry]) -> None:
        """Keep the rows of what was sent for the next run."""
        from llmctl.store import write_spool  # only where the hub takes no more rows

        writes = [write for entry in group if entry.is_sent for write in entry.writes]
        if not writes:
            return
        try:
            self._spooled_to = write_spool.append(
                self._path, writes, self._runtime.spool_folder, first=self._spooled_to
            )
        except OSError:
            self._spooled_to = None


class ExchangeRecorder(CallRecorder):
    """The rows of one exchange with a model, for a :class:`GroupRecorder`.

    After :meth:`begin`, :meth:`intention_writes` are what is committed before anything is sent; after the end,
    :meth:`pop_writes` are the rest.
    """

    shows_pieces = False

    def __init__(self, ids: TurnIds, plan: RecorderPlan, redact: Redaction) -> None:
        super().__init__(ids, plan, redact)
        self._writes: list[Write] = []
        self._first_attempt: Attempt | None = None

    def begin(self, state: CallState, writes: Sequence[Write]) -> None:
        self.state = state
        self._writes += writes

    def intention_writes(
        self, http: HttpRequest, body_columns: Callable[[], Mapping[str, Any]], columns: Mapping[str, Any] | None = None
    ) -> list[Write]:
        """Return the rows that say what is going to be sent: the request, and its first attempt with the body.

        They do not refer to thread and message: those are written with the answer. ``columns`` are added to the
        request.
        """
        self._first_attempt = super().begin_attempt(http, 1, body_columns)
        intention = [self._writes.pop()]
        for place, write in enumerate(self._writes):
            if isinstance(write, Insert) and write.table == "requests":
                links = {name: write.row[name] for name in _LINKS}
                self._writes[place] = Update("requests", write.row["id"], links)
                intention.insert(0, Insert("requests", {**write.row, **dict.fromkeys(_LINKS), **(columns or {})}))
        return intention

    def begin_attempt(self, http: HttpRequest, number: int, body_columns: Callable[[], Mapping[str, Any]]) -> Attempt:
        """Begin an attempt; the row of the first one is committed already."""
        if number > 1 or self._first_attempt is None:
            return super().begin_attempt(http, number, body_columns)
        self._first_attempt.started = time.monotonic()
        return self._first_attempt

    def write(self, *writes: Write) -> None:
        """Add further rows of the exchange."""
        self._write(*writes)

    def cancel_writes(self, request_id: str, reason: str | None, now: str) -> list[Write]:
        """Return what ends the rows of an intention unanswered; without a reason they are deleted: nothing was sent."""
        attempt = self._first_attempt
        if reason is None:
            attempts = [Delete("network_calls", {"request_id": request_id})]
            return [*attempts, Delete("requests", {"id": request_id})]
        error = {"error_code": "incomplete", "error_reason": "interrupted", "error": reason}
        ended: list[Write] = [Update("requests", request_id, {"status": "interrupted", **error, "updated_at": now})]
        if attempt:
            columns = {"status": "error", "error": reason, "updated_at": now}
            ended.append(Update("network_calls", attempt.id, columns, {"status": "pending"}))
        return ended

    def pop_writes(self) -> list[Write]:
        """Return the rows since the intention, and forget them."""
        writes, self._writes = self._writes, []
        return writes

    def _write(self, *writes: Write, durable: bool = False) -> None:
        self._writes += self._storable(writes)

    def _append(self, state: CallState, data: bytes) -> None:
        state.timeline.append([state.size_bytes, clock.elapsed_ms(state.started)])
        state.size_bytes += len(data)


def join_writes(writes: Iterable[Write]) -> tuple[Write, ...]:
    """Return writes with one for each row: a row that they insert and change is inserted as it ends.

    An update whose condition such a row does not meet is left out, and so is what deletes chunks of a stream that
    never had any. A request that was retried is inserted and changed: its attempts are counted at the change.
    """
    given = tuple(writes)
    retried = set(_list_retried(given))
    joined: list[Write | None] = []
    places: dict[tuple[str, str], int] = {}
    for write in given:
        match write:
            case Insert(table, row) if "id" in row and row["id"] not in retried:
                places[table, row["id"]] = len(joined)
            case Update(table, id, changes, where):
                place = places.get((table, id))
                before = None if place is None else joined[place]
                if isinstance(before, Insert) and place is not None:
                    if all(before.row.get(name) == value for name, value in where.items()):
                        joined[place] = Insert(table, {**before.row, **changes})
                    continue
                if isinstance(before, Update) and place is not None and not where:
                    joined[place] = None
                    write = Update(table, id, {**before.changes, **changes})
                if not where:
                    places[table, id] = len(joined)
            case Delete("stream_chunks", where) if ("response_streams", where.get("stream_id")) in places:
                continue
        joined.append(write)
    return tuple(_without_deleted([write for write in joined if write is not None]))


def _without_deleted(writes: Sequence[Write]) -> Iterator[Write]:
    """Leave out rows that the writes insert and delete; nothing refers to them either."""
    inserted = {(write.table, write.row.get("id")) for write in writes if isinstance(write, Insert)}
    deletes = [
        write for write in writes if isinstance(write, Delete) and (write.table, write.where.get("id")) in inserted
    ]
    gone = {write.where["id"] for write in deletes}
    if not gone:
        yield from writes
        return
    for write in writes:
        if isinstance(write, Insert) and write.row.get("id") not in gone:
            yield Insert(write.table, {name: None if value in gone else value for name, value in write.row.items()})
        elif isinstance(write, Update) and write.id not in gone:
            changes = {name: None if value in gone else value for name, value in write.changes.items()}
            yield Update(write.table, write.id, changes, write.where)
        elif isinstance(write, Delete) and write not in deletes:
            yield write


def _list_retried(writes: Iterable[Write]) -> Iterator[str]:
    """Yield the ids of requests with more than one attempt."""
    for write in writes:
        if isinstance(write, Insert) and write.table == "network_calls" and write.row.get("attempt", 1) > 1:
            yield write.row["request_id"]
