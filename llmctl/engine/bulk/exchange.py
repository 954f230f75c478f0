"""One row of a map and the model: build the request, send it or take its answer in, and make the rows of it.

This is where other ways to get answers join in. A batch builds its lines from ``ItemExchange.begin`` and ``http``,
commits :attr:`ItemExchange.intention`, and feeds what comes back to :meth:`ItemExchange.receive`; a cache feeds it
what is stored. In each case :meth:`ItemExchange.pop_writes` are the rows to record through the group recorder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.answer_text import find_fenced_block
from llmctl.core.chat import ChatRequest, ChatResponse, Message, StreamEvent
from llmctl.core.errors import IncompleteError, InvalidOutputError, LlmctlError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import dumps, new_id
from llmctl.core.values import Value
from llmctl.engine.billing.cost import Cost, CostTracker, PriceCache, Reservation, SettledCost
from llmctl.engine.bulk.pace import PaceOptions, RowPacer, SharedPace
from llmctl.engine.turn import records
from llmctl.engine.turn.group_recorder import ExchangeRecorder
from llmctl.engine.turn.history import HistoryEntry
from llmctl.engine.turn.model_call import ModelCall, RequestSender, receive_event
from llmctl.engine.turn.output_schema import OutputValidator
from llmctl.engine.turn.plan import TurnPlan, build_chat_request
from llmctl.engine.turn.state import Attempt, CallState, StepRequest, TurnIds, TurnResult
from llmctl.engine.turn.turn import check_prompt_size
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.records.map_items import PendingItem
from llmctl.store.records.types import RequestRow
from llmctl.wire import WIRES

if TYPE_CHECKING:
    from llmctl.engine.turn.cache import Cache

#: Bytes of a token, for the pace alone.
_BYTES_PER_TOKEN = 4

#: Statuses that a row ends with; ``pending`` is a row that the job's own failure left undone.
COMPLETED, FAILED, PENDING = "completed", "failed", "pending"


class ExchangePlan(Value):
    """What all rows of a job have in common: found out once."""

    #: Without input; its options do not change.
    turn: TurnPlan
    endpoint: Endpoint
    redact: Redaction
    job_id: str
    prices: PriceCache
    pace: SharedPace
    pace_options: PaceOptions
    #: ``batch``, or None for at once: prices depend on it.
    processing: str | None = None
    #: Stored answers of equal requests, where they are asked for.
    cache: Cache | None = None


class StoredResponse:
    """A response that another request, or another process, has received."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.chunks: Iterator[bytes] = iter((body,) if body else ())


class ItemExchange:
    """The conversation about one row: a prompt and its answer, and corrections where a schema is asked for.

    :meth:`begin`, commit the :attr:`intention`, :meth:`send` or :meth:`receive`; as long as :attr:`needs_correction`,
    again; then record :meth:`pop_writes`. Every row goes into a thread without a chat. One thread at a time.
    """

    def __init__(
        self, database: Database, plan: ExchangePlan, item: PendingItem, messages: tuple[Message, ...]
    ) -> None:
        self.item = item
        self._database = database
        self._plan = plan
        turn = plan.turn
        self._ids = TurnIds("", new_id(), plan.job_id, 0, "")
        self._recorder = _PacedRecorder(self._ids, plan)
        self._cost_tracker = CostTracker(
            database, turn.target, turn.cost_limits, plan.prices, plan.processing, env=turn.runtime.env
        )
        self._entries = [HistoryEntry(number, message) for number, message in enumerate(messages, 1)]
        self._step = 0
        self._state: CallState | None = None
        self._call: ModelCall | None = None
        self._pacer: RowPacer | None = None
        self.result = TurnResult(turn.target.provider.name, turn.target.model, turn.target.connection)
        self._validator = OutputValidator(turn.options, self.result) if turn.options.schema is not None else None
        self._has_thread = False
        #: What the row came to; None: the answer, as it stands in its message.
        self.output: str | None = None
        self.error: LlmctlError | None = None
        self.needs_correction = False
        self.request_id = ""
        #: Rows to commit before it is sent, and the most that it may cost.
        self.intention: tuple[list[Write], Reservation | None] = [], None
        #: The key of its first request in the cache (equal rows wait for it), and the stored answer that is used.
        self.cache_key: str | None = None
        self._answer: list[StreamEvent] | None = None
        #: How far the running step is, for the thread that stops the job.
        self.is_running = False
        self.was_sent = False
        #: Whether some thread records its end.
        self.is_claimed = False

    def begin(self) -> None:
        """Build the next request, and its :attr:`intention`: what must be committed before anything is sent.

        Raises BudgetError where there is a limit and the price is unknown, and RejectedError for a prompt that is
        longer than the model's context.
        """
        self._step += 1
        self.needs_correction = self.was_sent = False
        self._answer = None
        self._write_thread()
        request = build_chat_request(self._plan.turn, tuple(entry.message for entry in self._entries))
        check_prompt_size(request, self._plan.turn.target)
        call = self._build_call(request)
        if self._plan.cache is not None:
            self._look_up(call, self._plan.cache)
        self._state = call.begin(self._ids, self._cost_tracker)
        self.request_id, self._stream_id = self._state.request_id, self._state.stream_id
        processing = {"processing": self._plan.processing} if self._plan.processing else {}
        rows = [] if self.is_cached else self._recorder.intention_writes(call.http, call.body_columns, processing)
        running = {"status": "running", "request_id": self.request_id, "attempts": self.item.attempts + 1}
        update = Update("map_items", self.item.id, {**running, "updated_at": self._ids.last_time})
        self.intention = [*rows, update], self._state.reservation

    @property
    def is_cached(self) -> bool:
        """Whether a stored answer is used: :meth:`replay` takes it in, and nothing is sent."""
        return self._answer is not None

    def replay(self) -> None:
        """Take in the stored answer."""
        assert self._answer is not None
        assert self._state
        for event in self._answer:
            receive_event(self._state, event)
        self._finish(None)
        self._recorder.write(*self.intention[0])

    def _look_up(self, call: ModelCall, cache: Cache) -> None:
        """Find a stored answer; what the provider's own tools see depends on the day and is never used."""
        from llmctl.engine.turn.cache import Hit, read_answer, response_matches  # only where a cache is asked for
        from llmctl.wire.canonical import CanonicalRequest

        canonical = CanonicalRequest(self._plan.turn.target.wire, call.http)
        if canonical.find_hosted_tool() is not None:
            return
        found: list[StreamEvent] = []

        def is_usable(row: RequestRow) -> bool:
            message, events = read_answer(self._database, row)
            found[:] = events or ()
            return events is not None and response_matches(self._plan.turn.options.schema, message)

        self.cache_key = self.cache_key or canonical.key
        result = cache.find(canonical.key, is_usable)
        if isinstance(result, Hit):
            self._answer, call.cache_columns = found, result.to_columns()
        else:
            call.cache_columns, call.cache_miss = {"cache_key": canonical.key}, result.reason

    @property
    def http(self) -> HttpRequest:
        """The request that :meth:`begin` has built; its body is what a line of a batch holds."""
        assert self._call
        return self._call.http

    def send(self) -> None:
        """Send what :meth:`begin` has built, again while that may help, and take in what comes.

        Raises Interrupted once the job stops.
        """
        assert self._call
        assert self._state
        assert self._pacer
        try:
            self._pacer.start()
            self.was_sent = True
            self._sender.start_timeout()
            self._state.started = time.monotonic()
            self._consume(self._call.events())
        finally:
            usage = self.result.response.usage if self.result.response else None
            tokens = usage.input_tokens + usage.output_tokens if usage else None
            self._pacer.finish(is_answered=self.error is None, tokens=tokens)

    def receive(self, response: StoredResponse, wire: str | None = None) -> None:
        """Take in a response that came in another way; how long it took is not known.

        ``wire`` reads it, where that is not the wire of the request.
        """
        assert self._call
        assert self._state
        if wire:
            self._sender.wire = WIRES.load(wire)
        self._consume(self._call.receive(response))
        self._recorder.write(Update("requests", self.request_id, {"duration": None, "time_to_first_token": None}))
        if wire:
            format = {"wire": wire, "provider": self._plan.turn.target.provider.name, "stream": False}
            self._recorder.write(Update("response_streams", self._stream_id, {"format": dumps(format)}))

    def pop_writes(self) -> list[Write]:
        """Return the rows since :meth:`begin`, with what became of the item."""
        writes = self._recorder.pop_writes()
        return writes if self.needs_correction else [*writes, self._item_write()]

    def fail(self, error: LlmctlError) -> None:
        """End a step that was not sent."""
        self._recorder.pop_writes()
        self._recorder.state = None
        self.error = error

    def cancel_writes(self, reason: str | None) -> list[Write]:
        """Return what ends the rows of :meth:`begin` unanswered.

        ``reason`` is why; None: nothing was sent, so that there is nothing to keep.
        """
        now = clock.now()
        reservation = self.intention[1]
        if reason is None and reservation is not None:
            reservation.cancel()
        pending = Update("map_items", self.item.id, {"status": PENDING, "updated_at": now})
        return [*self._recorder.cancel_writes(self.request_id, reason, now), pending]

    def _build_call(self, request: ChatRequest) -> ModelCall:
        plan = self._plan
        step = StepRequest(self._step, request, tuple(self._entries))
        self._pacer = RowPacer(plan.pace, plan.pace_options, self._count_tokens())
        self._sender = RequestSender(self._recorder, plan.turn, plan.endpoint, plan.redact, self._pacer)
        self._call = ModelCall(self._sender, plan.turn, step)
        return self._call

    def _count_tokens(self) -> int:
        return sum(len(entry.message.text) for entry in self._entries) // _BYTES_PER_TOKEN

    def _write_thread(self) -> None:
        if self._has_thread:
            return
        self._has_thread = True
        now = clock.now()
        thread = {"id": self._ids.thread_id, "created_at": now, "updated_at": now}
        self._recorder.write(Insert("message_threads", thread))
        for entry in self._entries:
            self._recorder.write(*records.message_writes(self._ids, entry.message))

    def _consume(self, events: Iterator[Any]) -> None:
        error: LlmctlError | None = None
        try:
            for _ in events:
                pass
        except LlmctlError as caught:
            error = caught
        self._finish(error)

    def _finish(self, error: LlmctlError | None) -> None:
        """End the call: its cost, its rows, and what its answer is worth."""
        state = self._state
        assert state
        status = "completed" if error is None else "incomplete" if isinstance(error, IncompleteError) else FAILED
        response = self._recorder.build_response()
        is_billable = state.may_be_billed(error)
        cost = (
            SettledCost(Cost(0.0))
            if state.is_cached
            else self._cost_tracker.settle_cost(response, state.reservation, may_be_billed=is_billable)
        )
        self.result.add_response(response, cost.cost.amount)
        self._recorder.finish(status, response, self._totals(), cost_columns=cost.to_columns(), error=error)
        self.error = error
        if error is None:
            self._judge(response, state.message_id)

    def _judge(self, response: ChatResponse, message_id: str) -> None:
        """Find out what the answer is worth: it may have to match a schema, or to hold a fenced block."""
        try:
            if self._validator:
                correction = self._validator.validate(response, is_last=False)
                if correction is not None:
                    self._correct(response, correction, message_id)
                    return
                self.output = dumps(self.result.data)
            elif self._plan.turn.options.extract:
                self.output = _extract_block(response)
        except InvalidOutputError as error:
            self.error = error

    def _correct(self, response: ChatResponse, correction: Message, message_id: str) -> None:
        self.needs_correction = True
        self._recorder.write(*records.correction_writes(correction, message_id, self._ids))
        seq = self._ids.seq
        self._entries += [HistoryEntry(seq - 1, response.message), HistoryEntry(seq, correction)]

    def _totals(self) -> dict[str, Any]:
        usage = self.result.usage if self.result.usage_known else {}
        return {
            "model_id": self.result.model,
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
        }

    def _item_write(self) -> Write:
        error = self.error
        status = COMPLETED if error is None else PENDING if stops_job(error) else FAILED
        columns = {
            "status": status,
            "error_code": error.code if error else None,
            "error": self._plan.redact.text(error.message) if error else None,
            "output": self.output,
        }
        return Update("map_items", self.item.id, {**columns, "updated_at": clock.now()})


class _PacedRecorder(ExchangeRecorder):
    """Lets the pace learn from every response."""

    def __init__(self, ids: TurnIds, plan: ExchangePlan) -> None:
        super().__init__(ids, plan.turn, plan.redact)
        self._pace = plan.pace

    def end_attempt(self, attempt: Attempt, error: BaseException | None) -> None:
        self._pace.learn(attempt.headers)
        super().end_attempt(attempt, error)


def stops_job(error: LlmctlError) -> bool:
    """Return whether an error concerns every row: a refused key, an unknown model, an empty account, no network."""
    codes, reasons = ("config", "budget", "not-found", "storage", "usage"), ("offline", "redirect")
    return error.code in codes or error.reason in reasons


def _extract_block(response: ChatResponse) -> str:
    block = find_fenced_block(response.message.text)
    if block is None:
        raise InvalidOutputError("the answer has no fenced code block", reason="no_block")
    return block
