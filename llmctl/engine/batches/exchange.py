"""One request of a batch and its answer as rows of the ledger: a thread without a chat, request, attempt and stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.core.errors import IncompleteError, LlmctlError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import dumps, new_id
from llmctl.core.values import Value
from llmctl.engine.billing.cost import CostTracker, PriceCache, Reservation
from llmctl.engine.bulk.exchange import StoredResponse
from llmctl.engine.turn import records
from llmctl.engine.turn.group_recorder import ExchangeRecorder, join_writes
from llmctl.engine.turn.history import HistoryEntry
from llmctl.engine.turn.model_call import ModelCall, RequestSender
from llmctl.engine.turn.plan import TurnPlan
from llmctl.engine.turn.state import CallState, StepRequest, TurnIds
from llmctl.store.database import Database, Delete, Insert, Update, Write
from llmctl.wire import WIRES
from llmctl.wire.batches import BatchResult

#: How a request of a batch is processed, as the ledger and prices have it.
PROCESSING = "batch"


class LinePlan(Value):
    """What all requests of a job have in common."""

    #: Without input and options.
    turn: TurnPlan
    endpoint: Endpoint
    redact: Redaction
    job_id: str
    prices: PriceCache
    #: ``batch``, or None where requests are sent at once.
    processing: str | None = PROCESSING


_TABLES = ("message_threads", "messages")


def order_writes(writes: Iterable[Write]) -> list[Write]:
    """Return the writes of whole exchanges, one for each row: what others refer to comes first."""
    return sorted(join_writes(writes), key=_write_order)


def _write_order(write: Write) -> int:
    if isinstance(write, Delete):
        return len(_TABLES) + 1
    return _TABLES.index(write.table) if write.table in _TABLES else len(_TABLES)


class _BodyCall(ModelCall):
    """A call whose body is the caller's own, where it is on the same wire."""

    def __init__(self, sender: RequestSender, plan: TurnPlan, step: StepRequest, body: bytes | None) -> None:
        super().__init__(sender, plan, step)
        self._own_body = body

    @cached_property
    def http(self) -> HttpRequest:
        http = self._build_http(self._step.request)
        return http if self._own_body is None else http.replace(body=self._own_body)


class LineExchange:
    """One request: :meth:`begin`, commit the :attr:`intention`, :meth:`send` or :meth:`receive`, :meth:`pop_writes`."""

    def __init__(self, database: Database, plan: LinePlan, request: ChatRequest, own_body: bytes | None = None) -> None:
        self._plan = plan
        self._ids = TurnIds("", new_id(), plan.job_id, 0, "")
        self._recorder = ExchangeRecorder(self._ids, plan.turn, plan.redact)
        self._tracker = CostTracker(
            database, plan.turn.target, plan.turn.cost_limits, plan.prices, plan.processing, plan.turn.runtime.env
        )
        self._sender = RequestSender(self._recorder, plan.turn, plan.endpoint, plan.redact)
        entries = [HistoryEntry(number, message) for number, message in enumerate(request.messages, 1)]
        # The messages are in no earlier request: all of the body is stored.
        step = StepRequest(1, request, entries, is_changed=True)
        self._call = _BodyCall(self._sender, plan.turn, step, own_body)
        self._request = request
        self._state: CallState | None = None
        self.response: ChatResponse | None = None
        self.error: LlmctlError | None = None
        #: Why the rows of its beginning were not committed: then it must not be sent.
        self.refused: list[LlmctlError] = []
        #: Rows to commit before anything is sent.
        self.intention: list[Write] = []

    @property
    def http(self) -> HttpRequest:
        return self._call.http

    @property
    def request_id(self) -> str:
        assert self._state
        return self._state.request_id

    @property
    def reservation(self) -> Reservation | None:
        assert self._state
        return self._state.reservation

    def begin(self) -> None:
        """Build the rows of the request. Raises BudgetError where there is a limit and the price is unknown."""
        now = clock.now()
        self._recorder.write(Insert("message_threads", {"id": self._ids.thread_id, **records.timestamps(now)}))
        for message in self._request.messages:
            self._recorder.write(*records.message_writes(self._ids, message))
        self._state = self._call.begin(self._ids, self._tracker)
        columns = {"processing": self._plan.processing} if self._plan.processing else {}
        self.intention = self._recorder.intention_writes(self._call.http, self._call.body_columns, columns)

    def send(self) -> None:
        """Send the request at once, again while that may help, and take in the answer."""
        self._consume(self._call.events())

    def receive(self, result: BatchResult) -> None:
        """Take in the end of the request in a batch. How long it took is not known."""
        assert self._state
        if result.wire:
            self._sender.wire = WIRES.load(result.wire)
        status = result.status_code or (200 if result.kind == "answered" else 400)
        self._consume(self._call.receive(StoredResponse(status, {}, result.body)))
        unknown = {"duration": None, "time_to_first_token": None}
        self._recorder.write(Update("requests", self._state.request_id, unknown))
        if result.wire:
            format = {"wire": result.wire, "provider": self._plan.turn.target.provider.name, "stream": False}
            self._recorder.write(Update("response_streams", self._state.stream_id, {"format": dumps(format)}))

    def pop_writes(self) -> list[Write]:
        """Return the rows since :attr:`intention`."""
        return self._recorder.pop_writes()

    def whole_writes(self) -> list[Write]:
        """Return all rows of a request that was received: what others refer to comes first."""
        return order_writes([*self.intention, *self.pop_writes()])

    def _consume(self, events: Iterator[Any]) -> None:
        try:
            for _ in events:
                pass
        except LlmctlError as caught:
            self.error = caught
        state, error = self._state, self.error
        assert state
        status = "completed" if error is None else "incomplete" if isinstance(error, IncompleteError) else "failed"
        self.response = self._recorder.build_response()
        is_billable = state.may_be_billed(error)
        cost = self._tracker.settle_cost(self.response, state.reservation, may_be_billed=is_billable)
        usage = self.response.usage
        totals = {
            "model_id": self.response.model or self._request.model,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
        }
        self._recorder.finish(status, self.response, totals, cost_columns=cost.to_columns(), error=error)
