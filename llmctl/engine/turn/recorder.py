"""Writes what a turn does, before it does it: placeholder and intention, attempts, bytes, the end.

Once a call has begun, nothing here keeps the answer from being shown: what the hub does not take goes to the spool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse, Fold
from llmctl.core.errors import LlmctlError, PendingError, StorageError
from llmctl.core.ids import new_id
from llmctl.core.signals import uninterrupted
from llmctl.engine.turn import records
from llmctl.engine.turn.begin import Staged
from llmctl.engine.turn.options import Keep, Surroundings
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Call, Ending, Step
from llmctl.store import write_spool
from llmctl.store.database import Database
from llmctl.store.records import chunks
from llmctl.store.writes import Delete, Insert, Update, Write, legible

if TYPE_CHECKING:
    from llmctl.engine.billing.budget import Reservation

#: Bytes after which pieces are committed although nothing is waited for.
_MOST_UNSETTLED = 65_536


class Recorder:
    """The rows of one turn. Every public method commits before it returns."""

    def __init__(
        self,
        database: Database,
        staged: Staged,
        keep: Keep,
        around: Surroundings,
        redact: Redaction,
        on_idle: Callable[[], None],
    ) -> None:
        self._database = database
        self._staged = staged
        self._keep = keep
        self._around = around
        self._redact = redact
        self._on_idle = on_idle
        self._sent = False
        #: Where rows went that the hub did not take; None where no place took them.
        self.spooled_to: str | None = None
        #: Why the hub takes no more; from then on everything goes to the spool.
        self.storage_error: StorageError | None = None
        self.step: Step | None = None

    def begin(
        self,
        request_row: Mapping[str, Any],
        message_row: Mapping[str, Any],
        stream_row: Mapping[str, Any],
        reservation: Reservation | None = None,
    ) -> Step:
        """Commit placeholder, request and stream in one transaction; return the running step.

        Raises BudgetError where what it may cost does not fit under a cap: then nothing is written.
        """
        seq, now = self._staged.next()
        step = self.step = Step(new_id(), new_id(), new_id(), seq, reservation=reservation)
        common = {"created_at": now, "updated_at": now}
        message, request, stream = records.begun(step, self._staged)
        writes = (
            Insert("messages", {**message, **message_row, **common}),
            Insert("requests", {**request, "tag": self._keep.tag, **request_row, **common}),
            Insert("response_streams", {**stream, **stream_row, **common}),
        )
        if reservation is None:
            self._write(*writes, durable=True)
        else:
            self._write_under(reservation, writes)
        return step

    def begin_call(self, row: Mapping[str, Any]) -> Call:
        """Commit the row of an attempt, before its socket opens."""
        assert self.step
        now = clock.now()
        call = Call(new_id())
        begun = {"id": call.id, "request_id": self.step.request_id, "job_id": self._staged.job_id, "status": "pending"}
        self._write(Insert("network_calls", {**begun, **row, "created_at": now, "updated_at": now}))
        self._sent = True
        return call

    def end_call(self, call: Call, error: BaseException | None) -> None:
        """Finish the row of an attempt."""
        with uninterrupted():
            self._write(Update("network_calls", call.id, records.call_columns(call, error, self._redact)))

    def record(self, received: Iterable[bytes], call: Call) -> Iterator[bytes]:
        """Take each piece down and hand it on; what came in one read of the socket shares a commit.

        :meth:`settle` runs before more is waited for. It commits, and lets what was made of it be seen after that.
        """
        step = self.step
        assert step
        for piece in received:
            if call.time_to_first_byte_ms is None:
                call.time_to_first_byte_ms = clock.elapsed_ms(call.started)
            step.pieces.append(piece)
            step.unsettled += len(piece)
            yield piece
            if step.unsettled > _MOST_UNSETTLED:
                self.settle()
        self.settle()

    def settle(self) -> None:
        """Commit the pieces that are not yet in the hub; then let the consumer show what it has."""
        step = self.step
        if step and step.unsettled:
            data = b"".join(step.pieces[step.settled :])
            step.settled, step.unsettled = len(step.pieces), 0
            self._append(step, data)
        self._on_idle()

    def start_over(self) -> bytes:
        """Forget what a failed attempt brought, before the next one; return it."""
        assert self.step
        brought = b"".join(self.step.pieces)
        if self.step.pieces:
            self._write(Delete("stream_chunks", {"stream_id": self.step.stream_id}))
        self.step = replace(self.step, fold=Fold(), pieces=[], timeline=[], size=0, settled=0, unsettled=0, waiting=b"")
        return brought

    def finish(
        self,
        status: str,
        totals: Mapping[str, Any],
        *,
        billed: Mapping[str, Any],
        error: LlmctlError | None = None,
        also: Iterable[Write] = (),
    ) -> tuple[ChatResponse, bool]:
        """Fold the stream into message, request and stream; return the response and whether its message stays.

        ``status`` is that of the request; ``billed`` is what it cost, as its columns; ``also`` is written in the same
        transaction. A message without parts goes, so does a failed one with ``rollback``.
        """
        step = self.step
        assert step
        response = step.fold.response()
        keeps = status == "completed" or (bool(response.message.parts) and not self._keep.rollback)
        with uninterrupted():
            ending = Ending(status, response, keeps, totals, error, billed)
            self._write(*self._endings(step, ending), *also, durable=True)
            self.step = None
        return response, keeps

    def close(self, status: str, error: str | None, exit_code: int | None = None) -> None:
        """Finish the job and let go of the thread."""
        with uninterrupted():
            now = clock.now()
            job_id, free = self._staged.job_id, {"locking_job_id": None, "updated_at": now}
            finished = {"status": status, "error": error, "exit_code": exit_code, "finished_at": now, "updated_at": now}
            self._write(
                # By then somebody else may hold it.
                Update("message_threads", self._staged.thread_id, free, where={"locking_job_id": job_id}),
                Update("jobs", job_id, finished),
                Update("chats", self._staged.chat_id, {"updated_at": now}),
                *self._unkept_calls(exit_code),
                durable=True,
            )

    def write(self, *writes: Write, durable: bool = False) -> None:
        """Commit further rows of the turn (tool calls and results)."""
        self._write(*writes, durable=durable)

    def _append(self, step: Step, data: bytes) -> None:
        data = step.waiting + data
        size = len(data) - self._redact.unfinished(data)
        data, step.waiting = data[:size], data[size:]
        elapsed_ms = clock.elapsed_ms(step.started)
        step.timeline.append([step.size, elapsed_ms])
        step.size += len(data)
        if not self._keep.log or self.storage_error:
            return  # the finish writes all of it
        kept = self._redact.raw(data)
        seq = len(step.timeline)
        try:
            chunks.append(self._database, step.stream_id, seq, elapsed_ms, kept)
        except StorageError as problem:
            row = {"stream_id": step.stream_id, "seq": seq, "elapsed": elapsed_ms, "data": kept}
            self._spool([Insert("stream_chunks", row)], problem)

    def _endings(self, step: Step, ending: Ending) -> list[Write]:
        now = {"updated_at": clock.now()}
        if step.unsettled:  # what came last is written with the end
            step.timeline.append([step.size, clock.elapsed_ms(step.started)])
        return [
            self._message_write(step, ending, now),
            Update("requests", step.request_id, records.request_columns(step, ending, self._redact) | now),
            Update("response_streams", step.stream_id, records.stream_columns(step, ending, self._redact) | now),
            Delete("stream_chunks", {"stream_id": step.stream_id}),
            *records.unkept(step.request_id, self._keep.without),
        ]

    def _message_write(self, step: Step, ending: Ending, now: Mapping[str, str]) -> Write:
        if not ending.keeps:
            return Delete("messages", {"id": step.message_id})
        columns = records.answer_columns(ending, self._staged.chat_id, self._redact)
        # Pending no more where somebody took the thread away meanwhile: what they made of it stays.
        return Update("messages", step.message_id, {**columns, **ending.totals, **now}, where={"status": "pending"})

    def _unkept_calls(self, exit_code: int | None) -> list[Write]:
        """Runs of tools that go with the turn; those that wait for the next one stay."""
        if "tool-calls" not in self._keep.without or exit_code == PendingError.exit_code:
            return []
        return [Delete("tool_invocations", {"job_id": self._staged.job_id})]

    def _write(self, *writes: Write, durable: bool = False) -> None:
        kept = writes if self._keep.log else tuple(records.ledger_only(writes))
        if self.storage_error:
            self._spool(kept, self.storage_error)
            return
        try:
            self._commit(kept, durable)
        except StorageError as problem:
            if not self._sent:
                raise
            self._spool(kept, problem)

    def _write_under(self, reservation: Reservation, writes: Sequence[Write]) -> None:
        """Begin a request where it fits under the caps; a hub that cannot tell lets none begin."""
        taken = False
        try:
            if self.storage_error:
                raise self.storage_error
            with self._database.transaction(durable=True):
                reservation.take(self._database)
                taken = True
                self._write(*map(legible, writes))
        except LlmctlError:
            self.step = None
            if taken:
                reservation.give_back()
            raise

    def _commit(self, writes: Sequence[Write], durable: bool) -> None:
        try:
            self._database.commit(*writes, durable=durable)
        except UnicodeEncodeError:  # half a character in a server's JSON; what a user typed is the user's to mend
            if not self._sent:
                raise
            self._database.commit(*map(legible, writes), durable=durable)

    def _spool(self, writes: Iterable[Write], problem: StorageError) -> None:
        self.storage_error = self.storage_error or problem
        with suppress(OSError):
            self.spooled_to = write_spool.append(
                self._database.path, writes, self._around.spool_folder, first=self.spooled_to
            )
