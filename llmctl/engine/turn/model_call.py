"""One call to a model: build, send, decode, parse, record, judge; again while nothing was delivered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest
from llmctl.core.errors import BudgetError, IncompleteError, LlmctlError, UnavailableError
from llmctl.core.events import StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta, Unreadable
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.engine.models import suggestions
from llmctl.engine.turn import bodies, decode, history
from llmctl.engine.turn.completeness import judge, judged_break
from llmctl.engine.turn.dispatch import Answer, send
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.result import Waiting
from llmctl.engine.turn.state import Call, Step
from llmctl.transport.retry import Policy
from llmctl.wire import WIRES

if TYPE_CHECKING:
    from llmctl.engine.billing.budget import Reservation
    from llmctl.engine.billing.tracker import Meter

#: A refusal larger than this is no refusal anybody reads.
_MOST_ERROR_BYTES = 1_000_000


class Caller:
    """Calls one target, step by step."""

    def __init__(self, recorder: Recorder, plan: Plan, endpoint: Endpoint, redact: Redaction, meter: Meter) -> None:
        self._meter = meter
        self._recorder = recorder
        self._party = plan.party
        self._logs = plan.keep.log
        self._target = plan.target
        self._endpoint = endpoint
        self._manner = manner = plan.manner
        self._origin = plan.origin
        self._around = plan.around
        self._redact = redact
        self._wire = WIRES.load(plan.target.wire)
        self._deadline = None if manner.timeout_s is None else time.monotonic() + manner.timeout_s

    def begin(self, request: ChatRequest, entries: Sequence[history.Entry], number: int) -> Step:
        """Commit the intention; nothing is sent yet. Raises BudgetError where it might cost more than a cap allows."""
        reservation = self._meter.reservation(request, lambda: self._body(request, 0))
        try:
            return self._begin(request, entries, number, reservation)
        except BudgetError:
            if not self._meter.release_dead():
                raise
        return self._begin(request, entries, number, reservation)

    def _begin(
        self, request: ChatRequest, entries: Sequence[history.Entry], number: int, reservation: Reservation | None
    ) -> Step:
        format = {"wire": self._target.wire, "provider": self._target.provider.name, "stream": request.stream}
        return self._recorder.begin(
            request_row=self._request_row(request, entries, number, reservation),
            message_row={
                "type": "agent" if self._party else "chatModel",
                "source_id": self._party.id if self._party else self._target.connection_id,
                "model_id": request.model,
                "provider": self._target.provider.name,
            },
            stream_row={"source_id": self._target.connection_id, "format": dumps(format)},
            reservation=reservation,
        )

    def events(self, request: ChatRequest, entries: Sequence[history.Entry]) -> Iterator[StreamEvent | Waiting]:
        """Send, and yield what comes. Raises where the answer is not complete, after the retries."""
        http = self._wire.build_request(self._endpoint, request)
        policy = Policy(retries=self._manner.retries)
        attempt = 1
        while True:
            try:
                yield from self._attempt(http, request, entries, attempt)
                return
            except LlmctlError as error:
                wait = self._wait(policy, attempt, error)
                if wait is None:
                    raise
                yield Waiting(wait, attempt, error)
                time.sleep(wait)
                attempt += 1

    def _attempt(
        self, http: HttpRequest, request: ChatRequest, entries: Sequence[history.Entry], attempt: int
    ) -> Iterator[StreamEvent]:
        with self._call(http, request, entries, attempt) as call, self._sent(http, attempt) as answer:
            call.status_code, call.headers = answer.status, answer.headers
            step = self._running()
            step.status_code = answer.status
            if not 200 <= answer.status < 300:
                call.body = _read(answer)
                refusal = self._wire.parse_error(answer.status, answer.headers, call.body)
                raise self._harmless(suggestions.hinted(refusal, self._target))
            received = _Received(answer)
            try:
                events = decode.events(self._recorder.record(received, call), self._wire, self._dialect)
                for event in self._redact.events(events, step.struck):
                    step.events += not isinstance(event, Unreadable)
                    step.fold.add(event)
                    if isinstance(event, _DELIVERIES):
                        self._delivered(step)
                    yield event
            except LlmctlError as error:
                raise judged_break(step, self._harmless(error), received.broke) from error
            judge(step, self._manner.options, self._target.options)

    @contextmanager
    def _call(
        self, http: HttpRequest, request: ChatRequest, entries: Sequence[history.Entry], attempt: int
    ) -> Iterator[Call]:
        """Keep the row of an attempt: begun before the socket opens, finished however it ends."""
        call = self._recorder.begin_call(self._call_row(http, request, entries, attempt))
        try:
            yield call
        except BaseException as error:
            if isinstance(error, LlmctlError) and call.body is None and not self._running().delivered:
                call.body = b"".join(self._running().pieces)
            self._recorder.end_call(call, error)
            raise
        self._recorder.end_call(call, None)

    @contextmanager
    def _sent(self, http: HttpRequest, attempt: int) -> Iterator[Answer]:
        remaining = None if self._deadline is None else self._deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise UnavailableError(f"no answer within {self._manner.timeout_s:g} s", reason="timeout")
        with send(
            http,
            attempt=attempt,
            remaining_s=remaining,
            loopback_only=self._around.offline,
            before_wait=self._recorder.settle,
        ) as answer:
            yield answer

    def _harmless(self, error: LlmctlError) -> LlmctlError:
        """Strike the secrets out of what a server says about a failure."""
        self._redact.error(error)
        return error

    def _wait(self, policy: Policy, attempt: int, error: LlmctlError) -> float | None:
        """Return the seconds before the next attempt, or None for no other one."""
        step = self._running()
        again = error.retryable or (isinstance(error, IncompleteError) and error.reason != "length")
        if step.delivered or not again or error.reason == "offline":
            return None
        wait = policy.delay(attempt, error.retry_after)
        if wait is None or (self._deadline is not None and time.monotonic() + wait >= self._deadline):
            return None
        self._recorder.start_over()
        return wait

    def _delivered(self, step: Step) -> None:
        if not step.delivered:
            step.delivered = True
            step.time_to_first_token_ms = clock.elapsed_ms(step.started)

    def _running(self) -> Step:
        assert self._recorder.step
        return self._recorder.step

    @property
    def _dialect(self) -> Any:
        return self._endpoint.dialect

    def _of_party(self) -> dict[str, Any]:
        party = self._party
        if party is None:
            return {}
        session_id = party.session_id if self._logs or party.is_resumed else None
        return {"agent": party.name, "agent_version": party.version, "session_id": session_id}

    def _request_row(
        self, request: ChatRequest, entries: Sequence[history.Entry], number: int, reservation: Reservation | None
    ) -> dict[str, Any]:
        parameters = {
            "options": dict(request.options),
            "thinking": request.thinking,
            **({"shows_thinking": True} if request.shows_thinking else {}),
            "stream": request.stream,
            **({} if request.schema is None else {"schema": dict(request.schema)}),
            **({"tools": [tool.name for tool in request.tools]} if request.tools else {}),
            "seqs": history.ranges(entry.seq for entry in entries),
            **({"bound": reservation.bound.tokens()} if reservation else {}),
        }
        return {
            "provider": self._target.provider.name,
            "model": request.model,
            "connection": self._target.connection,
            **self._of_party(),
            "step": number,
            "correction_rounds": None if request.schema is None else history.corrections(request.messages),
            "parameters": self._redact.request_text(dumps(parameters)),
            "script": self._origin.script,
            "folder": self._origin.folder if self._origin.ledger_folder else None,
            "git_commit": self._origin.git_commit,
            "host": self._origin.host,
            **(reservation.columns() if reservation else {}),
        }

    def _call_row(
        self, http: HttpRequest, request: ChatRequest, entries: Sequence[history.Entry], attempt: int
    ) -> dict[str, Any]:
        row = {
            "attempt": attempt,
            "endpoint": self._redact.url(http.url),
            "method": http.method,
            "body_hash": sha256(http.body).hexdigest(),
            "request_headers": dumps(self._redact.headers(http.headers)),
        }
        if attempt == 1:  # later attempts send the same
            body, omitted = self._kept_body(request, entries)
            row |= {"body": self._redact.request_text(body), "omitted_messages": omitted}
        return row

    def _kept_body(self, request: ChatRequest, entries: Sequence[history.Entry]) -> tuple[str, int]:
        """Return the body without what an earlier call of the thread carried: else it would grow with the square."""
        omitted = bodies.already_sent([entry.message for entry in entries])
        return self._body(request, omitted).decode("utf-8", "replace"), omitted

    def _body(self, request: ChatRequest, omitted: int) -> bytes:
        """Return the body without its first messages and the content of files."""
        messages = tuple(bodies.without_files(message) for message in request.messages[omitted:])
        return self._wire.build_request(self._endpoint, replace(request, messages=messages)).body


_DELIVERIES = (TextDelta, ThinkingDelta, ToolCallDelta)


class _Received:
    """The pieces of an answer; remembers the error that ended them, to tell a broken line from a refusal."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.broke: LlmctlError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.chunks
        except UnavailableError as error:  # others are the consumer's, who is called while we wait
            self.broke = error
            raise


def _read(answer: Answer) -> bytes:
    """Read the body of a refusal, as far as anybody would read it."""
    pieces: list[bytes] = []
    for piece in answer.chunks:
        pieces.append(piece)
        if sum(map(len, pieces)) > _MOST_ERROR_BYTES:
            break
    return b"".join(pieces)
