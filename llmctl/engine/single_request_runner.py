"""Requests that are no turn: each a row of the ledger, its attempts, and one whole answer.

``with Exchange(...) as exchange: exchange.ask(...)`` – what ends the block early finishes the running request, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from llmctl.core import clock
from llmctl.core.errors import BudgetError, LlmctlError, StorageError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.ids import new_id
from llmctl.core.signals import uninterrupted
from llmctl.engine import single_request_rows
from llmctl.engine.billing import budget
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing.budget import Reservation
from llmctl.engine.connections.target import access
from llmctl.engine.jobs.heartbeat import Heartbeat
from llmctl.engine.single_request import Account, Answer, Errand, Question
from llmctl.engine.turn.begin import Staged
from llmctl.engine.turn.dispatch import send
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Call, Step
from llmctl.store.database import Database
from llmctl.store.writes import Insert, Update
from llmctl.transport.retry import Policy
from llmctl.wire import WIRES, Wire

Found = TypeVar("Found", bound=Answer)


class Exchange:
    """The requests of one command, one after the other. ``account`` tells what they came to."""

    def __init__(
        self, database: Database, errand: Errand, *, on_wait: Callable[[float, LlmctlError], None] = lambda *_: None
    ) -> None:
        self._database = database
        self._errand = errand
        self._on_wait = on_wait
        target, around = errand.target, errand.around
        allowed = access(target, around.env, home=around.home, on_terminal=around.on_terminal)
        self.endpoint: Endpoint = allowed.endpoint
        self.wire: Wire = WIRES.load(target.wire)
        self.account = Account(target.model)
        self._redact = Redaction(allowed.secrets)
        self._started = time.monotonic()
        timeout_s = errand.manner.timeout_s
        self._deadline = None if timeout_s is None else self._started + timeout_s
        self._began = clock.now()

    def __enter__(self) -> Exchange:
        self._job_id, now = new_id(), clock.now()
        self._database.commit(
            Insert("jobs", single_request_rows.job_row(self._job_id, self._errand, now)), durable=True
        )
        staged = Staged("", "", self._job_id, 0, now)
        around = self._errand.around
        self._recorder = Recorder(self._database, staged, self._errand.keep, around, self._redact, lambda: None)
        self._heartbeat = Heartbeat(self._database.path, self._job_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        known = error if isinstance(error, LlmctlError) else None
        # A plain LlmctlError is the consumer's: stdout cannot be written.
        stopped = error is not None and (known is None or known.code == LlmctlError.code)
        self.account.status = "interrupted" if stopped else "failed" if known else "completed"
        if self._recorder.step:
            self._end(self.account.status, None, known)
        self.account.duration_ms = clock.elapsed_ms(self._started)
        if known:
            known.request_id = self.account.request_ids[-1] if self.account.request_ids else None
            self._recorder.close("failed", self._redact.text(known.message), known.exit_code)
        else:
            self._recorder.close(*(("cancelled", "interrupted") if error else ("completed", None, 0)))

    @property
    def storage_error(self) -> StorageError | None:
        """Why the hub takes no more; what came is worth showing all the same."""
        return self._recorder.storage_error

    def ask(self, question: Question, parse: Callable[[bytes], Found]) -> Found:
        """Send a request, again while that may help, and return what it brought. Raises what went wrong."""
        self._begin(question)
        policy = Policy(retries=self._errand.manner.retries)
        attempt = 1
        while True:
            try:
                found = self._attempt(question, parse, attempt)
            except LlmctlError as error:
                wait = self._wait(policy, attempt, error)
                if wait is None:
                    raise
                self._on_wait(wait, error)
                time.sleep(wait)
                attempt += 1
            else:
                self._end("completed", found, None)
                return found

    def _wait(self, policy: Policy, attempt: int, error: LlmctlError) -> float | None:
        """Return the seconds before the next attempt, or None for no other one."""
        if not error.retryable or error.reason == "offline":
            return None
        wait = policy.delay(attempt, error.retry_after)
        late = wait is not None and self._deadline is not None and time.monotonic() + wait >= self._deadline
        return None if late else wait

    def _attempt(self, question: Question, parse: Callable[[bytes], Found], attempt: int) -> Found:
        """Keep the row of an attempt: begun before the socket opens, finished however it ends."""
        call = self._recorder.begin_call(single_request_rows.call_row(question, attempt, self._redact))
        try:
            found = parse(self._answer(question.http, call, attempt))
        except BaseException as error:
            if isinstance(error, LlmctlError):
                self._redact.error(error)
            self._recorder.end_call(call, error)
            raise
        call.body = None  # only refusals are kept here
        self._recorder.end_call(call, None)
        return found

    def _answer(self, http: HttpRequest, call: Call, attempt: int) -> bytes:
        """Return the body of an answer; raise what stands in the place of one."""
        step = self._recorder.step
        assert step
        with send(
            http,
            attempt=attempt,
            remaining_s=self._remaining_s(),
            loopback_only=self._errand.around.offline,
            before_wait=lambda: None,
        ) as answer:
            call.status_code = step.status_code = answer.status
            call.headers = answer.headers
            call.time_to_first_byte_ms = clock.elapsed_ms(call.started)
            call.body = b"".join(answer.chunks)
            if not 200 <= answer.status < 300:
                raise self.wire.parse_error(answer.status, answer.headers, call.body)
        if not call.body:
            raise UnavailableError("the server sent an empty answer", reason="empty")
        return call.body

    def _remaining_s(self) -> float | None:
        if self._deadline is None:
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise UnavailableError(f"no answer within {self._errand.manner.timeout_s:g} s", reason="timeout")
        return remaining

    def _begin(self, question: Question) -> None:
        """Commit the intention; nothing is sent yet. Raises BudgetError where it might cost more than a cap allows."""
        reservation = self._reservation(question)
        try:
            self._commit(reservation)
        except BudgetError:
            if not budget.release_dead(self._database):
                raise
            self._commit(reservation)

    def _commit(self, reservation: Reservation | None) -> None:
        self._began = clock.now()
        step = Step("", new_id(), "", 0, reservation=reservation)
        row = single_request_rows.request_row(step, self._errand, self._job_id, self._began, self._redact)
        with self._database.transaction(durable=True):
            if reservation:
                reservation.take(self._database)
            self._recorder.write(Insert("requests", row))
        self._recorder.step = step
        self.account.request_ids.append(step.request_id)

    def _reservation(self, question: Question) -> Reservation | None:
        target, caps = self._errand.target, self._errand.manner.caps
        if not caps:
            return None
        seller = billing_cost.seller_of(target)
        price = billing_cost.price_for(self._database, seller, (target.model,), moment=clock.parsed(clock.now()))
        bound = question.bound(price) if price else None
        if price and bound:
            return Reservation(caps, bound, price)
        if seller.is_free:
            return None
        raise budget.unknown_price(target.provider.name, target.model)

    def _end(self, status: str, found: Answer | None, error: LlmctlError | None) -> None:
        """Finish the running request with what it brought and cost."""
        step, errand = self._recorder.step, self._errand
        assert step
        with uninterrupted():
            usage, model = (found.usage, found.model) if found else (None, None)
            charge = billing_cost.charge_of(self._database, errand.target, usage, model, errand.options, self._began)
            held = _settled(step, charge.cost, error)
            columns = single_request_rows.ended(step, status, found, error, self._redact) | charge.columns() | held
            self._recorder.write(Update("requests", step.request_id, columns), durable=True)
            self._recorder.step = None
        if found:
            self.account.count(found, charge.cost)


def _settled(step: Step, cost: float | None, error: LlmctlError | None) -> dict[str, float | None]:
    """Settle what was set aside; of a request that may be billed all of it stays where nobody says what it cost."""
    if step.reservation is None:
        return {}
    held = step.reservation.bound.cost if cost is None and step.may_be_billed(error) else None
    step.reservation.settle(cost, held)
    return {"reserved_cost": held}
