"""Submit the rows of a job as batches, look how they are doing, and take each result in once.

A batch is committed before it is submitted, with a marker that goes along: after a crash the provider is asked for it.
A row is in at most one batch that may be running; what a batch did not answer can be sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, LockedError, PartialError, PendingError, RejectedError
from llmctl.core.http import HttpRequest
from llmctl.core.humanize import pluralize
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine import recovery
from llmctl.engine.batches.host import BatchHost, was_refused
from llmctl.engine.billing.cost import Reservation
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.runtime import RuntimeEnv
from llmctl.store.database import Database, Insert, Update
from llmctl.store.records import jobs, map_items, provider_batches
from llmctl.store.records.types import JobRow, MapItemRow, ProviderBatchRow
from llmctl.wire.batches import BatchInput, BatchRequest, BatchResult, BatchState, HttpReply, iter_results, run_steps

#: Seconds, from the first look, after which a batch that the provider does not list was never submitted: a call that
#: was cut off may still be on its way.
_SUBMISSION_GRACE_S = 10.0
#: Seconds between two looks: the first, by how much they grow, and the longest.
_FIRST_POLL_S, _POLL_GROWTH, _LONGEST_POLL_S = 5.0, 1.5, 120.0
#: Bytes of a line besides its body, at most.
_LINE_OVERHEAD = 300
#: Rows that are read, or taken in and committed, together.
_CHUNK = 500


class BatchSource(Protocol):
    """The rows of a job: what is asked of each, and what becomes of the answers."""

    def prepare(self, items: Sequence[MapItemRow]) -> None:
        """Get ready for these rows: they are the next ones to be built or taken in."""

    def build_request(self, item: MapItemRow) -> BatchRequest:
        """Return the request of a row, with any custom id. Raises the error of a row that cannot be asked."""

    def reserve(self, requests: list[BatchRequest]) -> Reservation | None:
        """Return what the requests may cost at most; None without a limit."""

    def reject(self, item: MapItemRow, error: LlmctlError) -> None:
        """Record that a row cannot be asked."""

    def take_in(self, item: MapItemRow, result: BatchResult) -> None:
        """Record the end of a row, with its ledger rows, some time before :meth:`flush` returns."""

    def flush(self) -> None:
        """Commit what was recorded."""

    def close(self) -> None:
        """End what records."""

    def write_output(self) -> None:
        """Write the results of all rows, once none is open."""


class BatchJob:
    """One job whose rows go through a batch API. Used within :func:`hold_job`."""

    def __init__(
        self,
        database: Database,
        job: JobRow,
        connection: str,
        host: BatchHost,
        source: BatchSource,
        runtime: RuntimeEnv,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._database = database
        self._job = job
        self._connection = connection
        self._host = host
        self._source = source
        self._runtime = runtime
        self._note = note

    def submit_pending(self, *, repeats: bool = False) -> None:
        """Submit the rows that are in no batch, in as many batches as the provider's limits ask for.

        With ``repeats`` also those that an ended batch left unanswered. Raises what the provider refuses them with.
        """
        while wave := self._next_wave(repeats):
            if not self._submit(wave):
                return

    def refresh(self) -> bool:
        """Look at every open batch and take in the results of those that have ended; return whether all have.

        Raises PendingError where only a person can tell whether a batch was submitted.
        """
        for row in provider_batches.list_unfetched(self._database, self._job.id):
            current = self._resolve(row) if row.status in ("pending", "submitting") else row
            if current is not None:
                self._look_at(current)
        return not provider_batches.list_unfetched(self._database, self._job.id)

    def wait(self, timeout_s: float | None, *, repeats: bool = False) -> bool:
        """Work until every row has ended, or the time is over; return whether all have."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        delay_s = _FIRST_POLL_S
        while not self.refresh() or self._has_pending(repeats):
            self.submit_pending(repeats=repeats)
            repeats = False
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return self.refresh()
            pause = delay_s if self._host.poll_after_s is None else self._host.poll_after_s
            self._runtime.sleep(pause if left is None else min(pause, left))
            delay_s = min(delay_s * _POLL_GROWTH, _LONGEST_POLL_S)
        return True

    def cancel(self) -> None:
        """Ask the provider to end every open batch; what they have finished so far is taken in later."""
        for row in provider_batches.list_unfetched(self._database, self._job.id):
            current = self._resolve(row) if row.status in ("pending", "submitting") else row
            if current is not None and current.remote_id:
                self._store_state(current, self._host.cancel(current.remote_id))

    def adopt(self, row: ProviderBatchRow, remote_id: str) -> None:
        """Take a batch at the provider as the one that was submitted."""
        self._store_state(row, self._host.get_state(remote_id))

    def release(self, row: ProviderBatchRow) -> None:
        """Take a batch as one that was never submitted."""
        self._end_unsubmitted(row, "it was not submitted")

    # --- submission

    def _has_pending(self, repeats: bool) -> bool:
        return next(provider_batches.iter_pending(self._database, self._job.id, repeats=repeats), None) is not None

    def _next_wave(self, repeats: bool) -> list[tuple[MapItemRow, BatchRequest]]:
        """Return the next rows that fit into one batch: of one path and one model."""
        protocol = self._host.protocol
        wave: list[tuple[MapItemRow, BatchRequest]] = []
        size = 0
        for item in self._iter_prepared(repeats):
            try:
                request = self._source.build_request(item)
            except LlmctlError as error:
                self._source.reject(item, error)
                continue
            length = len(dumps(request.body).encode("utf-8", "replace")) + _LINE_OVERHEAD
            if wave and (request.path, request.model) != (wave[0][1].path, wave[0][1].model):
                continue
            if wave and (len(wave) >= protocol.max_requests or size + length > protocol.max_bytes):
                break
            wave.append((item, request))
            size += length
        self._source.flush()
        return wave

    def _iter_prepared(self, repeats: bool) -> Iterator[MapItemRow]:
        items = provider_batches.iter_pending(self._database, self._job.id, repeats=repeats)
        while part := list(islice(items, _CHUNK)):
            self._source.prepare(part)
            yield from part

    def _submit(self, wave: list[tuple[MapItemRow, BatchRequest]]) -> bool:
        """Submit a batch; return False where the provider's queue takes no more for now."""
        marker = f"llmctl-{new_id().replace('-', '')[:16]}"
        named = [request.replace(custom_id=f"{marker}-{item.position}") for item, request in wave]
        row = self._commit_batch(marker, [item for item, _ in wave], named)
        batch = BatchInput(marker, named, submitted_at=str(row.submitted_at))
        host, taken = self._host, False

        def send(request: HttpRequest) -> HttpReply:
            nonlocal taken
            reply = host.send(request)
            taken = taken or host.protocol.takes_requests(request)
            return reply

        try:
            state = run_steps(host.protocol.submit(host.endpoint, batch), send)
        except LlmctlError as error:
            if was_refused(error) and not taken:
                self._end_unsubmitted(row, error.message)
                raise
            resolved = self._resolve(row, was_taken=taken)
            if resolved is None:
                raise
            if taken:
                self._note(
                    f"batch {row.id[:8]} may have only some of its {pluralize(len(wave), 'row')}: {error.message}"
                )
            return True
        self._store_state(row, state)
        self._note(f"submitted {pluralize(len(wave), 'row')} as batch {row.id[:8]} ({state.remote_id})")
        return True

    def _commit_batch(self, marker: str, items: list[MapItemRow], requests: list[BatchRequest]) -> ProviderBatchRow:
        """Commit a batch that is going to be submitted. Raises BudgetError where it may exceed a limit."""
        reservation = self._source.reserve(requests)
        now = clock.now()
        counts = {"total": len(items)} | ({"reserved_cost": reservation.estimate.cost} if reservation else {})
        row = {
            "id": new_id(),
            "job_id": self._job.id,
            "connection": self._connection,
            "provider": self._host.provider,
            "model": requests[0].model,
            "marker": marker,
            "status": "submitting",
            "counts": dumps(counts),
            "submitted_at": now,
            "created_at": now,
            "updated_at": now,
        }
        with self._database.transaction(durable=True):
            if reservation:
                reservation.reserve(self._database)
            self._database.commit(Insert("provider_batches", row))
            provider_batches.assign_items(self._database, row["id"], [item.id for item in items], now)
        return ProviderBatchRow.from_row(row)

    def _resolve(self, row: ProviderBatchRow, *, was_taken: bool = False) -> ProviderBatchRow | None:
        """Find out whether a batch was submitted; return it, or None if not: its rows can be sent then.

        ``was_taken``: the provider has said that it took some of them in.
        """
        host, count = self._host, provider_batches.count_batch_items(self._database, row.id)
        batch = BatchInput(row.marker, [BatchRequest("", "", "", {})] * count, submitted_at=str(row.submitted_at))
        left_s = _SUBMISSION_GRACE_S
        while True:
            try:
                found = run_steps(host.protocol.find(host.endpoint, batch), host.send)
            except PendingError as error:  # the list is too long
                raise _uncertain_error(row, error.message) from error
            if found and (host.protocol.keeps_marker or found[0].is_ended):
                return self._store_state(row, found[0])
            if found:
                remote_id = found[0].remote_id
                raise _uncertain_error(row, f"{remote_id} has as many requests", remote_id)
            if left_s <= 0 and was_taken:
                raise _uncertain_error(row, "the provider took some of its requests in, but does not list it")
            if left_s <= 0:
                self._end_unsubmitted(row, "it was not submitted")
                return None
            pause_s = min(1.0, left_s)
            self._runtime.sleep(pause_s)
            left_s -= pause_s

    def _end_unsubmitted(self, row: ProviderBatchRow, reason: str) -> None:
        """End a batch that the provider does not have; its rows are as before."""
        now = clock.now()
        with self._database.transaction(durable=True):
            provider_batches.release_items(self._database, row.id, "pending", now, is_undone=True)
            end = {"status": "failed", "error": self._host.redact.text(reason), "finished_at": now, "updated_at": now}
            self._database.commit(Update("provider_batches", row.id, end))

    # --- results

    def _look_at(self, row: ProviderBatchRow) -> None:
        assert row.remote_id
        state = self._host.get_state(row.remote_id)
        current = self._store_state(row, state)
        if state.counts.get("completed", 0) > loads(row.counts, {}).get("completed", 0):
            total = pluralize(state.counts.get("total", 0), "row")
            self._note(f"batch {row.id[:8]}: {state.counts['completed']:,} of {total} answered")
        if state.is_ended:
            self._collect(current, state)

    def _store_state(self, row: ProviderBatchRow, state: BatchState) -> ProviderBatchRow:
        """Store what the provider says of a batch; one that has ended counts as open until its results are taken in."""
        known = loads(row.counts, {})
        changes = {
            "remote_id": state.remote_id,
            "status": "running" if state.status == "running" else "cancelling" if not state.is_ended else "running",
            "remote_status": state.remote_status,
            "counts": dumps({**known, **{name: value for name, value in state.counts.items() if value}}),
            "files": dumps(dict(state.files)),
            "error": self._host.redact.text(state.error) if state.error else None,
            "expires_at": state.expires_at,
            "updated_at": clock.now(),
        }
        self._database.commit(Update("provider_batches", row.id, changes), durable=True)
        return row.replace(**changes)

    def _collect(self, row: ProviderBatchRow, state: BatchState) -> None:
        """Take in the results of a batch that has ended; what has none can be sent again."""
        host = self._host
        results = iter_results(host.protocol.read_results(host.endpoint, state), host.send)
        while part := list(islice(results, _CHUNK)):
            named = {result.custom_id: result for result in part if result.kind != "unsent"}
            found = [(item, one) for one in named.values() if (item := self._find_item(row, one))]
            self._source.prepare([item for item, _ in found])
            for item, result in found:
                self._source.take_in(item, result)
            self._source.flush()
        now = clock.now()
        with self._database.transaction(durable=True):
            if state.status == "failed" and not state.is_queue_full:
                reason = state.error or f"the provider ended the batch as {state.remote_status}"
                error = host.redact.text(f"the batch failed: {reason}")
                provider_batches.release_items(
                    self._database, row.id, "failed", now, code=RejectedError.code, error=error
                )
            else:
                undone = state.is_queue_full
                provider_batches.release_items(self._database, row.id, "pending", now, is_undone=undone)
            counts = {name: value for name, value in loads(row.counts, {}).items() if name != "reserved_cost"}
            end = {"status": state.status, "counts": dumps(counts), "finished_at": now, "fetched_at": now}
            self._database.commit(Update("provider_batches", row.id, {**end, "updated_at": now}))

    def _find_item(self, row: ProviderBatchRow, result: BatchResult) -> MapItemRow | None:
        """Return the row that a result is of; None if it is none of this batch, or was taken in already."""
        marker, _, position = result.custom_id.rpartition("-")
        if marker != row.marker or not position.isdecimal():
            return None
        item = provider_batches.find_item(self._database, self._job.id, int(position))
        return item if item and item.batch_id == row.id and item.status == "submitted" else None


def finish_rows(database: Database, job_id: str, source: BatchSource) -> None:
    """Write the output once every row has ended, and raise what the job came to.

    Raises PendingError while a batch is open, and PartialError where rows failed or were not answered.
    """
    counts = provider_batches.count_items(database, job_id)
    if counts.get("submitted") or provider_batches.list_unfetched(database, job_id):
        raise running_error(database, job_id)
    if unanswered := counts.get("pending", 0):
        raise PartialError(
            f"{pluralize(unanswered, 'row')} of {sum(counts.values())} not answered",
            hint=f"send them again: llmctl batch wait {job_id[:8]} --resubmit",
            reason="unanswered",
        )
    source.write_output()
    if failed := counts.get("failed", 0):
        raise PartialError(f"{pluralize(failed, 'row')} of {sum(counts.values())} failed", reason="failed_rows")


def running_error(database: Database, job_id: str) -> PendingError:
    """Return the error for a job whose batches still run, with the command that waits for it."""
    rows = provider_batches.list_unfetched(database, job_id)
    counts = [loads(row.counts, {}) for row in rows]
    total, done = (sum(int(one.get(name) or 0) for one in counts) for name in ("total", "completed"))
    batches = f"{len(rows)} batch{'' if len(rows) == 1 else 'es'}"
    return PendingError(
        f"{batches} still running: {done} of {pluralize(total, 'row')} answered",
        hint=f"llmctl batch wait {job_id[:8]}",
        reason="batch_running",
    )


def _uncertain_error(row: ProviderBatchRow, why: str, remote_id: str | None = None) -> PendingError:
    id = row.id[:8]
    adopt = (
        f"if it is that one: llmctl batch wait {id} --adopt {remote_id}" if remote_id else f'look for "{row.marker}"'
    )
    return PendingError(
        f"batch {id} may have been submitted before the crash: {why}",
        hint=f"{adopt}; if not: llmctl batch wait {id} --resubmit",
        reason="batch_uncertain",
    )


@contextmanager
def hold_job(database: Database, job: JobRow) -> Iterator[None]:
    """Make this process the one that works on a job; however the block ends, the job's row says how it stands.

    Raises LockedError where another live process works on it.
    """
    with database.transaction(durable=True):
        current = jobs.get(database, job.id)
        if lease.is_alive(current) and not lease.is_own(current):
            raise LockedError(
                f"job {job.id[:8]} is running: process {current.pid}", hint=f"llmctl job show {job.id[:8]}"
            )
        if current.status == "running" and not lease.is_alive(current):
            recovery.recover_job(database, current)
        held = {"status": "running", "error": None, "exit_code": None, "finished_at": None}
        identity = lease.process_identity().to_dict() | {"lease_expires_at": lease.lease_expiry()}
        database.commit(Update("jobs", job.id, {**held, **identity, "started_at": clock.now()}))
    heartbeat = Heartbeat(database.path, job.id)
    end: dict[str, Any] = {"status": "cancelled", "error": "interrupted"}
    try:
        yield
        end = {"status": "completed", "exit_code": 0}
    except PendingError as error:
        end = {"status": "pending", "error": error.message, "exit_code": None}
        raise
    except PartialError as error:
        is_over = error.reason == "failed_rows"
        end = {"status": "completed" if is_over else "failed", "error": error.message, "exit_code": error.exit_code}
        raise
    except LlmctlError as error:
        end = {"status": "failed", "error": error.message, "exit_code": error.exit_code}
        raise
    finally:
        heartbeat.stop()
        now = clock.now()
        if end["status"] == "cancelled" and provider_batches.list_unfetched(database, job.id):
            end["status"] = "pending"  # the provider goes on
        finished = {} if end["status"] == "pending" else {"finished_at": now}
        counts = provider_batches.count_items(database, job.id)
        result = {"rows": sum(counts.values()), **counts, "cost": map_items.sum_cost(database, job.id)}
        changes = {**end, **finished, "result": dumps(result), "updated_at": now}
        database.commit(Update("jobs", job.id, changes), durable=True)
