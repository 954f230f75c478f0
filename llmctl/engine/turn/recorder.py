"""Write what a turn does, before it does it: placeholder and request, attempts, bytes, the end.

Once something was sent, nothing here keeps the answer from being shown: what the hub does not take goes to the spool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import BudgetError, LlmctlError, PendingError, StorageError
from llmctl.core.http import HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction
from llmctl.core.signals import defer_signals
from llmctl.core.stored_values import new_id
from llmctl.engine.billing.cost import Reservation
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.turn import records
from llmctl.engine.turn.state import Attempt, CallEnd, CallState, TurnIds
from llmctl.store.database import (
    WRITE_ERRORS,
    Database,
    Delete,
    Insert,
    Update,
    Write,
    file_identity,
    to_storable_write,
    write_error,
)
from llmctl.store.opening import MEMORY
from llmctl.store.records import requests

#: Bytes after which chunks are committed although nothing is waited for.
_MAX_UNCOMMITTED_BYTES = 65_536


#: Reason of the error for a hub that is no longer where it was: the spool then gets the whole turn.
_MOVED = "moved"


class RecorderPlan(Protocol):
    """What to store: the plan of a turn, or that of single requests."""

    @property
    def options(self) -> TurnOptions: ...
    @property
    def runtime(self) -> RuntimeEnv: ...
    @property
    def log(self) -> bool: ...


class CallRecorder:
    """The rows of calls to a model, one call after the other; a subclass says where and when they are written.

    ``on_commit`` is called after each commit of the data of one read of the socket.
    """

    #: Whether pieces of an answer are shown as they come: then they are committed before more is waited for.
    shows_pieces = True

    def __init__(
        self, ids: TurnIds, plan: RecorderPlan, redact: Redaction, on_commit: Callable[[], None] = lambda: None
    ) -> None:
        self._ids = ids
        self._is_logged = plan.log
        self._options = plan.options
        self._runtime = plan.runtime
        self._redact = redact
        self._on_commit = on_commit
        self._is_sent = False
        #: The call that runs.
        self.state: CallState | None = None

    def begin_attempt(self, http: HttpRequest, number: int, body_columns: Callable[[], Mapping[str, Any]]) -> Attempt:
        """Commit the row of an attempt, before its socket opens; only the first one stores its body."""
        assert self.state
        attempt = Attempt(new_id(), number)
        row = records.attempt_row(attempt, http, self._redact)
        row |= {"request_id": self.state.request_id, "job_id": self._ids.job_id}
        if number == 1:  # later attempts send the same
            row |= body_columns()
        self._write(Insert("network_calls", row))
        self._is_sent = True
        return attempt

    def end_attempt(self, attempt: Attempt, error: BaseException | None) -> None:
        """Finish the row of an attempt."""
        with defer_signals():
            self._write(Update("network_calls", attempt.id, records.attempt_end_columns(attempt, error, self._redact)))

    def persist_stream(self, received: Iterable[bytes], attempt: Attempt) -> Iterator[bytes]:
        """Record each chunk and yield it; the data of one read of the socket shares a commit.

        :meth:`flush` runs before more is waited for: it commits, and then lets what was made of it be shown.
        """
        state = self.state
        assert state
        for chunk in received:
            if attempt.time_to_first_byte_ms is None:
                attempt.time_to_first_byte_ms = clock.elapsed_ms(attempt.started)
            state.chunks.append(chunk)
            state.uncommitted_bytes += len(chunk)
            yield chunk
            if state.uncommitted_bytes > _MAX_UNCOMMITTED_BYTES:
                self.flush()
        self.flush()

    def flush(self) -> None:
        """Commit the chunks that are not yet in the hub; then let the consumer show what it has."""
        state = self.state
        if state and state.uncommitted_bytes:
            data = b"".join(state.chunks[state.committed_chunks :])
            state.committed_chunks, state.uncommitted_bytes = len(state.chunks), 0
            self._append(state, data)
        self._on_commit()

    def discard_attempt(self, error: LlmctlError) -> None:
        """Forget what a failed attempt received, before the next one."""
        assert self.state
        if self.state.chunks:
            self._write(Delete("stream_chunks", {"stream_id": self.state.stream_id}))
        self.state.end_attempt(error)

    def build_response(self) -> ChatResponse:
        """Return what the running call has received so far, without secrets."""
        assert self.state
        received = self.state.fold.build()
        response = self._redact.response(received)
        self.state.has_redacted_field |= response != received
        return response

    def finish(
        self,
        status: str,
        response: ChatResponse,
        totals: Mapping[str, Any],
        *,
        cost_columns: Mapping[str, Any],
        error: LlmctlError | None = None,
        also: Iterable[Write] = (),
    ) -> bool:
        """Write the end of message, request and stream; return whether the message stays.

        ``status`` is that of the request; ``also`` is written in the same transaction. A message without parts is
        deleted, and so is a failed one with ``rollback``.
        """
        state = self.state
        assert state
        keeps = status == "completed" or (bool(response.message.parts) and not self._options.rollback)
        with defer_signals():
            end = CallEnd(status, response, keeps, totals, error, cost_columns)
            self._write(*self._end_writes(state, end), *also, durable=True)
            self.state = None
        return keeps

    def finish_request(self, end: CallEnd, also: Iterable[Write] = ()) -> None:
        """Write the end of a request that has no message, and ``also`` in the same transaction."""
        state = self.state
        assert state
        columns = records.request_end_columns(state, end, self._redact) | {"updated_at": clock.now()}
        self._write(Update("requests", state.request_id, columns), *also, durable=True)
        self.state = None

    def _end_writes(self, state: CallState, end: CallEnd) -> list[Write]:
        now = {"updated_at": clock.now()}
        if state.uncommitted_bytes:  # the last bytes are written with the end
            state.timeline.append([state.size_bytes, clock.elapsed_ms(state.started)])
        return [
            self._message_write(state, end, now),
            Update("requests", state.request_id, records.request_end_columns(state, end, self._redact) | now),
            Update("response_streams", state.stream_id, records.stream_end_columns(state, end, self._redact) | now),
            Delete("stream_chunks", {"stream_id": state.stream_id}),
            *records.deletions_for(state.request_id, self._options.no_persist),
        ]

    def _message_write(self, state: CallState, end: CallEnd, now: Mapping[str, str]) -> Write:
        if not end.keeps_message:
            return Delete("messages", {"id": state.message_id})
        columns = records.answer_columns(end, self._ids.chat_id, self._redact, state.origin)
        # No longer pending if another job took over the thread in the meantime: its changes to the message stay.
        return Update("messages", state.message_id, {**columns, **end.totals, **now}, where={"status": "pending"})

    def _storable(self, writes: Sequence[Write]) -> Sequence[Write]:
        """Return what is stored of rows: without text where nothing is logged."""
        return writes if self._is_logged else tuple(records.strip_text(writes))

    def begin(self, state: CallState, writes: Sequence[Write]) -> None:
        """Begin a call with these rows."""
        raise NotImplementedError

    def _write(self, *writes: Write, durable: bool = False) -> None:
        raise NotImplementedError

    def _append(self, state: CallState, data: bytes) -> None:
        """Record bytes of an answer, and when they came."""
        raise NotImplementedError


class Recorder(CallRecorder):
    """The rows of one turn, or of a command's single requests. Every public method commits before it returns.

    ``on_commit`` is called after each commit of the data of one read of the socket.
    """

    def __init__(
        self,
        database: Database,
        ids: TurnIds,
        plan: RecorderPlan,
        redact: Redaction,
        on_commit: Callable[[], None],
    ) -> None:
        super().__init__(ids, plan, redact, on_commit)
        self._database = database
        self._file = file_identity(database.path)
        #: The rows of its calls so far, except for the bytes of their streams.
        self._committed: list[Write] = []
        #: Where rows went that the hub did not take; None where no place took them.
        self.spooled_to: str | None = None
        #: Whether rows are neither in the hub nor in the spool.
        self.has_lost_rows = False
        #: Why the hub takes no more rows; from then on everything goes to the spool.
        self.storage_error: StorageError | None = None

    def begin(self, state: CallState, writes: Sequence[Write]) -> None:
        """Commit the rows of a call that begins, in one transaction.

        Raises BudgetError where its cost might exceed a limit, and StorageError where the hub takes no rows: what is
        asked next would lack what the hub lacks. Then nothing is written.
        """
        if self.storage_error:
            raise self.storage_error
        if state.reservation is None:
            self._commit_begin(writes)
            self.state = state
            return
        try:
            self._write_reserved(state.reservation, writes)
        except BudgetError:
            from llmctl.engine import recovery  # only where a dead process may hold a reservation

            if not recovery.recover_dead_reservations(self._database):
                raise
            self._write_reserved(state.reservation, writes)
        self.state = state

    def close(self, status: str, error: str | None, exit_code: int | None = None) -> None:
        """Finish the job and unlock the thread."""
        with defer_signals():
            now = clock.now()
            job_id, unlocked = self._ids.job_id, {"locking_job_id": None, "updated_at": now}
            end = {"status": status, "error": error, "exit_code": exit_code, "finished_at": now, "updated_at": now}
            self._write(
                # By then another job may hold it.
                Update("message_threads", self._ids.thread_id, unlocked, where={"locking_job_id": job_id}),
                Update("jobs", job_id, end),
                Update("chats", self._ids.chat_id, {"updated_at": now}),
                *self._tool_call_deletes(exit_code),
                durable=True,
            )

    def write(self, *writes: Write, durable: bool = False) -> None:
        """Commit further rows of the turn (tool calls and results)."""
        self._write(*writes, durable=durable)

    def _append(self, state: CallState, data: bytes) -> None:
        data = state.held_back + data
        size = len(data) - self._redact.partial_secret_bytes(data)
        data, state.held_back = data[:size], data[size:]
        elapsed_ms = clock.elapsed_ms(state.started)
        state.timeline.append([state.size_bytes, elapsed_ms])
        state.size_bytes += len(data)
        if not self._is_logged or self.storage_error:
            return  # the end writes all of it
        redacted = self._redact.raw(data)
        seq = len(state.timeline)
        try:
            requests.append_chunk(self._database, state.stream_id, seq, elapsed_ms, redacted)
        except (StorageError, *WRITE_ERRORS) as problem:
            row = {"stream_id": state.stream_id, "seq": seq, "elapsed": elapsed_ms, "data": redacted}
            self._repeat_or_spool([Insert("stream_chunks", row)], problem)

    def _tool_call_deletes(self, exit_code: int | None) -> list[Write]:
        """Return what deletes tool calls that are not kept; those that wait for the next turn stay."""
        if "tool-calls" not in self._options.no_persist or exit_code == PendingError.exit_code:
            return []
        return [Delete("tool_invocations", {"job_id": self._ids.job_id})]

    def _write(self, *writes: Write, durable: bool = False) -> None:
        stored = self._storable(writes)
        if self.storage_error:
            self._spool(stored, self.storage_error)
            return
        try:
            self._commit(stored, durable)
        except (StorageError, *WRITE_ERRORS) as problem:
            if not self._is_sent:
                raise  # of the user's own values, which are the user's to correct
            self._repeat_or_spool(stored, problem, durable=durable)

    def _commit(self, writes: Sequence[Write], durable: bool) -> None:
        """Commit rows. Raises StorageError where the hub has lost the turn: what is written there is lost, too."""
        if durable and self._is_sent and self._has_lost_turn():
            raise self._lost_turn_error()
        self._database.commit(*writes, durable=durable)
        self._committed += writes

    def _has_lost_turn(self) -> bool:
        """Return whether the path leads to another file by now, or the file to what another hub held (a restore)."""
        if self._database.path != MEMORY and file_identity(self._database.path) != self._file:
            return True
        return not self._database.has_row("jobs", self._ids.job_id)

    def _lost_turn_error(self) -> StorageError:
        message = f'the hub "{self._database.path}" was moved, deleted or replaced during the turn'
        return StorageError(message, reason=_MOVED)

    def _commit_begin(self, writes: Sequence[Write]) -> None:
        """Commit the rows of a call that begins; nothing goes to the spool, since nothing was sent."""
        stored = self._storable(writes)
        try:
            self._commit(stored, durable=True)
        except (StorageError, *WRITE_ERRORS) as problem:
            if not self._is_sent:
                raise
            try:
                self._repeat(stored, problem, durable=True)
            except StorageError as error:
                self.storage_error = error
                raise

    def _write_reserved(self, reservation: Reservation, writes: Sequence[Write]) -> None:
        """Begin a request where it fits under the cost limits; not where the hub cannot tell."""
        is_reserved = False
        try:
            with self._database.transaction(durable=True):
                reservation.reserve(self._database)
                is_reserved = True
                self._commit(tuple(map(to_storable_write, self._storable(writes))), durable=True)
        except BaseException as error:
            if is_reserved:
                reservation.cancel()
            if isinstance(error, (StorageError, *WRITE_ERRORS)) and self._is_sent:
                self.storage_error = write_error(self._database.path, error)
                raise self.storage_error from error
            raise

    def _repeat_or_spool(self, writes: Sequence[Write], problem: Exception, *, durable: bool = False) -> None:
        try:
            self._repeat(writes, problem, durable=durable)
        except StorageError as error:
            self._spool(writes, error)

    def _repeat(self, writes: Sequence[Write], problem: Exception, *, durable: bool) -> None:
        """Commit once more what failed: with values that any hub takes, and the schema as it is by now.

        A failure that waiting or a free disk would cure is final. Raises StorageError.
        """
        if isinstance(problem, StorageError):
            raise problem
        self._database.clear_name_cache()
        try:
            self._commit(tuple(map(to_storable_write, writes)), durable)
        except StorageError:
            raise
        except WRITE_ERRORS as error:
            raise write_error(self._database.path, error) from error

    def _spool(self, writes: Iterable[Write], problem: StorageError) -> None:
        """Keep rows for the next run. Once some are lost, later ones would say what is not true: they are, too."""
        from llmctl.store import write_spool  # only where the hub takes no more rows

        if self.storage_error is None and problem.reason != _MOVED:
            with suppress(StorageError, *WRITE_ERRORS):  # a restored hub refuses the turn's rows in ways of its own
                problem = self._lost_turn_error() if self._has_lost_turn() else problem
        if problem.reason == _MOVED and self.storage_error is None:
            writes = [*self._ids.restore_writes(), *map(_unconditional, self._committed), *writes]
        self.storage_error = self.storage_error or problem
        if self.has_lost_rows:
            return
        try:
            self.spooled_to = write_spool.append(
                self._database.path, writes, self._runtime.spool_folder, first=self.spooled_to
            )
        except OSError:
            self.has_lost_rows = True


def _unconditional(write: Write) -> Write:
    """Return a write of the turn for a hub that has not seen its calls run."""
    return write.replace(where={}) if isinstance(write, Update) and write.table == "tool_invocations" else write
