"""Requests that are no turn (embeddings, images): each a ledger row with its attempts, and one whole answer.

``with SingleRequestRunner(...) as runner: runner.send(...)`` – what ends the block early finishes the running request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TypeVar

from llmctl.core import clock
from llmctl.core.chat import ChatResponse, Message, Usage
from llmctl.core.errors import LlmctlError, StorageError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction
from llmctl.core.signals import defer_signals
from llmctl.core.stored_values import new_id
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing.cost import CostEstimate, CostLimits, Reservation
from llmctl.engine.connections.target import Target, TargetKind, resolve_endpoint
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.models.rates import Price
from llmctl.engine.runtime import CallerInfo, RetryScheduled, RuntimeEnv
from llmctl.engine.turn import records
from llmctl.engine.turn.model_call import RequestSender, StreamedResponse, limit_size
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.state import Attempt, CallEnd, CallState, TurnIds
from llmctl.store.database import Database, Insert

#: The most of an answer that is taken: 2,048 vectors of 3,072 numbers, or ten large pictures, twice.
_MAX_ANSWER_BYTES = 256 * 1024**2


class HasUsage(Protocol):
    """What every answer reports besides its content."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def model(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class SingleRequestPlan:
    """What the requests of one command have in common."""

    kind: TargetKind
    target: Target
    options: TurnOptions
    caller: CallerInfo
    runtime: RuntimeEnv
    log: bool = True
    cost_limits: CostLimits = field(default_factory=CostLimits)

    @property
    def model_options(self) -> dict[str, Any]:
        """The options to send: the command's override the alias's and the connection's."""
        options = {**self.target.options, **self.target.alias_options, **self.options.options}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One request. ``stored_body`` lacks the content of files; ``estimate`` returns the most it can cost at a price."""

    http: HttpRequest
    stored_body: str
    estimate: Callable[[Price], CostEstimate | None]


@dataclass(slots=True)
class UsageSummary:
    """Totals of a command's requests. ``cost`` is None where that of one is unknown."""

    model: str
    request_ids: list[str] = field(default_factory=list)
    status: str = "pending"
    usage: Usage = field(default_factory=Usage)
    usage_known: bool = False
    cost: float | None = None
    duration_ms: int = 0
    _answer_count: int = 0

    def add_answer(self, answer: HasUsage, cost: float | None) -> None:
        self.model = answer.model or self.model
        is_known = self.cost is not None or not self._answer_count
        self.cost = (self.cost or 0.0) + cost if is_known and cost is not None else None
        self._answer_count += 1
        if (usage := answer.usage) is not None:
            self.usage_known = True
            self.usage = Usage(
                input_tokens=self.usage.input_tokens + usage.input_tokens,
                output_tokens=self.usage.output_tokens + usage.output_tokens,
                cached_tokens=self.usage.cached_tokens + usage.cached_tokens,
            )

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON documents of these commands have in common."""
        names = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens")
        counts = {name: getattr(self.usage, name) for name in names}
        return {
            "request_id": self.request_ids[-1] if self.request_ids else None,
            "request_ids": self.request_ids,
            "status": self.status,
            "model": self.model,
            "usage": counts if self.usage_known else dict.fromkeys(counts),
            "cost": self.cost,
            "duration_ms": self.duration_ms,
        }


A = TypeVar("A", bound=HasUsage)


class SingleRequestRunner:
    """Sends the requests of one command, one after the other; ``summary`` has their totals."""

    def __init__(
        self,
        database: Database,
        plan: SingleRequestPlan,
        *,
        on_retry: Callable[[float, LlmctlError], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._plan = plan
        self._on_retry = on_retry
        runtime = plan.runtime
        resolved = resolve_endpoint(database, plan.target, runtime)
        self.endpoint: Endpoint = resolved.endpoint
        self.summary = UsageSummary(plan.target.model)
        self._redact = Redaction(resolved.secrets)
        self._started = time.monotonic()

    def __enter__(self) -> SingleRequestRunner:
        plan, now = self._plan, clock.now()
        self._ids = TurnIds("", "", new_id(), 0, now)
        job = records.command_job_row(self._ids.job_id, plan.kind, now)
        self._database.commit(Insert("jobs", job), durable=True)
        self._recorder = Recorder(self._database, self._ids, plan, self._redact, lambda: None)
        self._sender = RequestSender(self._recorder, plan, self.endpoint, self._redact)
        self._heartbeat = Heartbeat(self._database.path, self._ids.job_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        known = error if isinstance(error, LlmctlError) else None
        # A plain LlmctlError is the consumer's: stdout cannot be written.
        stopped = error is not None and (known is None or known.code == LlmctlError.code)
        self.summary.status = "interrupted" if stopped else "failed" if known else "completed"
        if self._recorder.state:
            self._finish(self.summary.status, None, known)
        self.summary.duration_ms = clock.elapsed_ms(self._started)
        if known:
            known.request_id = self.summary.request_ids[-1] if self.summary.request_ids else None
            self._recorder.close("failed", self._redact.text(known.message), known.exit_code)
        else:
            self._recorder.close(*(("cancelled", "interrupted") if error else ("completed", None, 0)))

    @property
    def storage_error(self) -> StorageError | None:
        """Why the hub takes no more rows; the answers are worth showing all the same."""
        return self._recorder.storage_error

    def send(self, request: PreparedRequest, parse: Callable[[bytes], A]) -> A:
        """Send a request, again while that may help, and return its answer. Raises what went wrong."""
        self._begin(request)

        def read(response: StreamedResponse, attempt: Attempt) -> Iterator[A]:
            attempt.time_to_first_byte_ms = clock.elapsed_ms(attempt.started)
            attempt.body = b"".join(limit_size(response.chunks, _MAX_ANSWER_BYTES))
            if not attempt.body:
                raise UnavailableError("the server sent an empty answer", reason="empty")
            answer = parse(self._redact.raw(attempt.body))
            attempt.body = None  # only refusals are stored
            yield answer

        for event in self._sender.send(request.http, lambda: self._body_columns(request), read):
            if isinstance(event, RetryScheduled):
                self._on_retry(event.seconds, event.error)
            else:
                answer = event
        self._finish("completed", answer, None)
        return answer

    def _body_columns(self, request: PreparedRequest) -> dict[str, Any]:
        return {"body": self._redact.request_text(request.stored_body)}

    def _begin(self, request: PreparedRequest) -> None:
        """Commit the row of the request. Raises BudgetError where its cost might exceed a limit."""
        self._ids.advance()
        state = CallState("", new_id(), "", 0, reservation=self._prepare_reservation(request))
        row = records.request_row(self._plan, self._ids, state, {"options": self._plan.model_options}, self._redact)
        self._recorder.begin(state, [Insert("requests", {**row, "type": self._plan.kind})])
        self.summary.request_ids.append(state.request_id)

    def _prepare_reservation(self, request: PreparedRequest) -> Reservation | None:
        target, limits = self._plan.target, self._plan.cost_limits
        if not limits:
            return None
        key = billing_cost.price_key(target)
        price = billing_cost.find_price(self._database, key, (target.model,), moment=clock.parse(clock.now()))
        estimate = request.estimate(price) if price else None
        if price and estimate:
            return Reservation(limits, estimate, price)
        if key.is_free:
            return None
        raise billing_cost.unknown_price_error(target.provider.name, target.model)

    def _finish(self, status: str, answer: HasUsage | None, error: LlmctlError | None) -> None:
        """Write the end of the running request, with its usage and cost."""
        state, plan = self._recorder.state, self._plan
        assert state
        with defer_signals():
            usage, model = (answer.usage, answer.model) if answer else (None, None)
            cost = billing_cost.cost_for_target(
                self._database, plan.target, usage, model, plan.model_options, self._ids.last_time
            )
            columns = cost.to_columns() | _settle_reservation(state, cost.amount, error)
            response = ChatResponse(Message("assistant", ()), usage=usage, model=model)
            self._recorder.finish_request(CallEnd(status, response, False, {}, error, columns))
        if answer:
            self.summary.add_answer(answer, cost.amount)


def _settle_reservation(state: CallState, cost: float | None, error: LlmctlError | None) -> dict[str, float | None]:
    """Settle a reservation; all of it stays reserved for a request that may be billed at an unknown cost."""
    if state.reservation is None:
        return {}
    possible_cost = state.reservation.estimate.cost if cost is None and state.may_be_billed(error) else None
    state.reservation.settle(cost, possible_cost)
    return {"reserved_cost": possible_cost}
