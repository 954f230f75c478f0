"""One call to a model: build, send, decode, record, check; again while nothing was delivered.

:class:`RequestSender` is the one loop that sends and retries, for turns and for single requests (embeddings, images).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, Protocol, TypeVar

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta, Unreadable
from llmctl.core.errors import IncompleteError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id
from llmctl.engine.billing.cost import CostTracker
from llmctl.engine.connections.target import Target, name_connection
from llmctl.engine.runtime import Notice, RetryScheduled, RuntimeEnv
from llmctl.engine.turn import decode, records
from llmctl.engine.turn.history import Origin
from llmctl.engine.turn.plan import TurnPlan
from llmctl.engine.turn.recorder import CallRecorder
from llmctl.engine.turn.state import Attempt, CallState, StepRequest, TurnIds
from llmctl.wire import WIRES
from llmctl.wire.requests import has_tools

T = TypeVar("T")

#: Longer error responses are cut to this length.
_MAX_ERROR_BYTES = 1_000_000
#: The most of an answer that is taken: 128,000 tokens, the longest answer of today's models, as events of 250 bytes,
#: twice.
MAX_ANSWER_BYTES = 64 * 1024**2

#: Options that limit the answer: reaching one of these is what the user chose.
_LENGTH_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")

_DELIVERIES = (TextDelta, ThinkingDelta, ToolCallDelta)

_ECHO = "echo:"


class StreamedResponse(Protocol):
    """An HTTP response: header names in lower case, the body in chunks as they come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def chunks(self) -> Iterator[bytes]: ...


class SenderPlan(Protocol):
    """Where requests go and how: the plan of a turn, or that of single requests."""

    @property
    def target(self) -> Target: ...
    @property
    def options(self) -> TurnOptions: ...
    @property
    def runtime(self) -> RuntimeEnv: ...


class Pacer(Protocol):
    """Decides when requests are sent again."""

    def retry_delay_s(self, number: int, error: LlmctlError) -> float | None:
        """Return the seconds to wait after failed attempt ``number`` (from 1), or None to give up."""

    def wait(self, seconds: float) -> None:
        """Wait before the next attempt."""


class _OwnPacer:
    """Retries as ``--retries`` says, without regard to other requests."""

    def __init__(self, retries: int, runtime: RuntimeEnv) -> None:
        self._retries = retries
        self.wait = runtime.sleep

    def retry_delay_s(self, number: int, error: LlmctlError) -> float | None:
        from llmctl.transport.retry import RetryPolicy  # only after a failed attempt

        policy, is_rate_limit = RetryPolicy(retries=self._retries), error.reason == "rate_limit"
        return policy.delay_s(number, error.retry_after, is_rate_limit=is_rate_limit)


class ModelCall:
    """One step's call to a model."""

    #: Fields of ``chat --json`` where a cache was asked for.
    cache_report: Mapping[str, Any] = {}
    #: What the row of the request says of the cache, and why no stored answer is used.
    cache_columns: Mapping[str, Any] = {}
    cache_miss: str | None = None

    def __init__(self, sender: RequestSender, plan: TurnPlan, step: StepRequest) -> None:
        self._sender = sender
        self._plan = plan
        self._step = step

    def begin(self, ids: TurnIds, cost_tracker: CostTracker) -> CallState:
        """Commit the rows of the call; nothing is sent yet.

        Raises BudgetError where its cost might exceed a limit.
        """
        state = self._new_state(ids)
        state.cache_columns, state.cache_miss = self.cache_columns, self.cache_miss
        if not state.is_cached:
            self._reserve(state, cost_tracker)
        self._commit(ids, state)
        return state

    def _new_state(self, ids: TurnIds) -> CallState:
        seq, _ = ids.advance()
        origin = Origin.from_target(self._plan.target).replace(model=self._step.request.model)
        tools = tuple(tool.name for tool in self._step.request.tools)
        state = CallState(new_id(), new_id(), new_id(), seq, origin=origin, tool_names=tools)
        state.renamed_tools = self._renamed_tools
        return state

    def _reserve(self, state: CallState, cost_tracker: CostTracker) -> None:
        state.reservation = cost_tracker.prepare_reservation(self._step.request, lambda: self._stored_body(0))

    def _commit(self, ids: TurnIds, state: CallState) -> None:
        writes = records.call_writes(self._plan, ids, state, self._step, self._sender.redact)
        self._sender.recorder.begin(state, writes)

    def events(self) -> Iterator[StreamEvent | RetryScheduled | Notice]:
        """Send, and yield what comes. Raises where the answer is not complete, after the retries."""
        return self._sender.send(self.http, self.body_columns, self._read_events)

    def receive(self, response: StreamedResponse) -> Iterator[StreamEvent]:
        """Yield the events of a response that came in another way than :meth:`events` asks for it."""
        return self._sender.receive(response, self.http, self.body_columns, self._read_events)

    @cached_property
    def http(self) -> HttpRequest:
        """The request as it is sent."""
        return self._build_http(self._step.request)

    def _build_http(self, request: ChatRequest) -> HttpRequest:
        return self._sender.wire.build_request(self._sender.endpoint, request)

    @cached_property
    def _renamed_tools(self) -> Mapping[str, str]:
        """Sent name -> own name of the tools whose name the wire does not accept."""
        rule, request = self._sender.wire.tool_names, self._step.request
        if rule is None or not has_tools(request):
            return {}
        from llmctl.wire.tools import list_renamed  # most chats have no tools

        return list_renamed(request, rule)

    def body_columns(self) -> dict[str, Any]:
        """Return the body without what the thread's previous call carried: else the hub would grow quadratically.

        Messages that a hook changed are in no row: then it is the whole body.
        """
        messages = [entry.message for entry in self._step.entries]
        omitted = 0 if self._step.is_changed else records.count_sent_messages(messages)
        body = self._stored_body(omitted).decode("utf-8", "replace")
        return {"body": self._sender.redact.request_text(body), "omitted_messages": omitted}

    def _stored_body(self, omitted: int) -> bytes:
        """Return the body without its first messages and the content of files; built again only where that differs."""
        request = self._step.request
        messages = request.messages[omitted:]
        if not omitted and not any(map(records.has_file_content, messages)):
            return self.http.body
        stored = tuple(map(records.without_file_content, messages))
        return self._build_http(request.replace(messages=stored)).body

    def _read_events(self, response: StreamedResponse, attempt: Attempt) -> Iterator[StreamEvent]:
        sender = self._sender
        state = sender.recorder.state
        assert state
        received = _TrackedChunks(response)
        try:
            chunks = sender.recorder.persist_stream(received, attempt)
            events = decode.decode_events(chunks, sender.wire, sender.endpoint.dialect, state.renamed_tools)
            for event in sender.redact.events(events, state.count_redactions, state.note_redacted_field):
                receive_event(state, event)
                yield event
        except LlmctlError as error:
            sender.redact.error(error)
            raise explain_disconnect(state, error, received.error) from error
        check_complete(state, self._plan.options.options, self._plan.target.options)


def receive_event(state: CallState, event: StreamEvent) -> None:
    """Count an event of an answer that arrives."""
    state.event_count += not isinstance(event, Unreadable)
    state.fold.add(event)
    if isinstance(event, _DELIVERIES) and not state.delivered:
        state.delivered = True
        state.time_to_first_token_ms = clock.elapsed_ms(state.started)


class RequestSender:
    """Sends the requests of a turn or a command to one target, and retries; every attempt is a row."""

    def __init__(
        self,
        recorder: CallRecorder,
        plan: SenderPlan,
        endpoint: Endpoint,
        redact: Redaction,
        pacer: Pacer | None = None,
    ) -> None:
        self.recorder = recorder
        self.endpoint = endpoint
        self.redact = redact
        self.wire = WIRES.load(plan.target.wire)
        self._target = plan.target
        self._pacer: Pacer = pacer or _OwnPacer(plan.options.retries, plan.runtime)
        self._runtime = plan.runtime
        self._timeout_s = plan.options.timeout
        self.start_timeout()

    def start_timeout(self) -> None:
        """Count the time limit from now on."""
        self._deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s

    def send(
        self,
        http: HttpRequest,
        body_columns: Callable[[], Mapping[str, Any]],
        read: Callable[[StreamedResponse, Attempt], Iterator[T]],
    ) -> Iterator[T | RetryScheduled]:
        """Yield what ``read`` makes of a successful response; send again while that may help.

        ``body_columns`` returns what is stored of the request's body.
        """
        number = 1
        while True:
            try:
                yield from self._send_once(http, number, body_columns, read)
                return
            except LlmctlError as error:
                delay_s = self._retry_delay_s(number, error)
                if delay_s is None:
                    raise
                self.recorder.discard_attempt(error)
                yield RetryScheduled(delay_s, number, error)
                self.recorder.flush()  # let it be shown before the wait
                self._pacer.wait(delay_s)
                number += 1

    def _send_once(
        self,
        http: HttpRequest,
        number: int,
        body_columns: Callable[[], Mapping[str, Any]],
        read: Callable[[StreamedResponse, Attempt], Iterator[T]],
    ) -> Iterator[T]:
        with self._record_attempt(http, number, body_columns) as attempt, self._open(http, number) as response:
            yield from self._read_response(response, attempt, read)

    def receive(
        self,
        response: StreamedResponse,
        http: HttpRequest,
        body_columns: Callable[[], Mapping[str, Any]],
        read: Callable[[StreamedResponse, Attempt], Iterator[T]],
    ) -> Iterator[T]:
        """Yield what ``read`` makes of a response to ``http`` that came in another way, such as in a batch."""
        with self._record_attempt(http, 1, body_columns) as attempt:
            yield from self._read_response(response, attempt, read)

    def _read_response(
        self,
        response: StreamedResponse,
        attempt: Attempt,
        read: Callable[[StreamedResponse, Attempt], Iterator[T]],
    ) -> Iterator[T]:
        attempt.status_code, attempt.headers = response.status, response.headers
        self._running_state().status_code = response.status
        if not 200 <= response.status < 300:
            attempt.body = _read_refusal(response)
            refusal = self.wire.parse_error(response.status, response.headers, attempt.body)
            raise _with_suggestions(refusal, self._target)
        yield from read(response, attempt)

    @contextmanager
    def _record_attempt(
        self, http: HttpRequest, number: int, body_columns: Callable[[], Mapping[str, Any]]
    ) -> Iterator[Attempt]:
        """Record an attempt: its row is inserted before the socket opens and updated however it ends."""
        attempt = self.recorder.begin_attempt(http, number, body_columns)
        try:
            yield attempt
        except BaseException as error:
            if isinstance(error, LlmctlError):
                self._explain(error)
                if attempt.body is None and not self._running_state().delivered:
                    attempt.body = b"".join(self._running_state().chunks)
            self.recorder.end_attempt(attempt, error)
            raise
        self.recorder.end_attempt(attempt, None)

    @contextmanager
    def _open(self, http: HttpRequest, number: int) -> Iterator[StreamedResponse]:
        remaining_s = None if self._deadline is None else self._deadline - time.monotonic()
        if remaining_s is not None and remaining_s <= 0:
            raise UnavailableError(f"no answer within {self._timeout_s:g} s", reason="timeout")
        with send(
            http,
            attempt=number,
            remaining_s=remaining_s,
            runtime=self._runtime,
            before_wait=self.recorder.flush if self.recorder.shows_pieces else None,
        ) as response:
            yield response

    def _explain(self, error: LlmctlError) -> None:
        """Say in an error which time limit was reached, and in its hint which connection it is about."""
        self.redact.error(error)
        name_connection(error, self._target.connection, self._target.provider.name)
        if error.reason == "timeout" and self._deadline is not None and time.monotonic() >= self._deadline:
            error.message = f"no answer within {self._timeout_s:g} s"
            error.hint = "allow more time with --timeout SECONDS"

    def _retry_delay_s(self, number: int, error: LlmctlError) -> float | None:
        """Return the seconds before the next attempt, or None to give up."""
        may_help = error.retryable or (isinstance(error, IncompleteError) and error.reason != "length")
        if self._running_state().delivered or not may_help or error.reason == "offline":
            return None
        delay_s = self._pacer.retry_delay_s(number, error)
        if delay_s is None or (self._deadline is not None and time.monotonic() + delay_s >= self._deadline):
            return None
        return delay_s

    def _running_state(self) -> CallState:
        assert self.recorder.state
        return self.recorder.state


class _TrackedChunks:
    """The chunks of a response; remembers the error that ended them, to tell a lost connection from a refusal."""

    def __init__(self, response: StreamedResponse) -> None:
        self._response = response
        self.error: LlmctlError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from limit_size(self._response.chunks, MAX_ANSWER_BYTES)
        except UnavailableError as error:  # others come from the consumer, who is called while we wait
            self.error = error
            raise


def limit_size(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield chunks; raise UnavailableError (``too_large``), which is not worth a retry, where they are too many."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            message = f"the answer is larger than {max_bytes // 1024**2} MiB"
            error = UnavailableError(message, reason="too_large")
            error.retryable = False
            raise error
        yield chunk


def _with_suggestions(error: LlmctlError, target: Target) -> LlmctlError:
    """Return the error, with similar names in its hint where the provider does not know the model."""
    if error.reason != "model_not_found" or target.provider.local:
        return error
    from llmctl.engine.models import catalog  # 200 ms

    return catalog.add_model_suggestions(error, target.provider.name, target.model)


def _read_refusal(response: StreamedResponse) -> bytes:
    body = bytearray()
    for chunk in response.chunks:
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            break
    return bytes(body[:_MAX_ERROR_BYTES])


def check_complete(state: CallState, *options: Mapping[str, Any]) -> None:
    """Raise where the stream did not end as a complete answer ends; ``options`` are what the user chose."""
    response = state.fold.build()
    if response.finish_reason is None and not state.event_count:
        if response.unreadable:
            raise UnavailableError(f"cannot read the answer: {response.unreadable[0]}", reason="not_json")
        raise UnavailableError("the answer was cut before its first event", reason="empty")
    if response.finish_reason is None:
        raise IncompleteError("the answer was interrupted: the stream ended without its end marker", reason="cut")
    if response.unreadable:
        raise IncompleteError(
            f"the answer contains an event that cannot be read: {response.unreadable[0]}", reason="unreadable"
        )
    if response.finish_reason == "content_filter":
        raise RejectedError("the provider's content filter stopped the answer", reason="content_filter")
    if response.finish_reason == "incomplete":
        message = f'the provider ended the answer early: "{response.raw_finish_reason}"'
        raise IncompleteError(message, reason="ended_early")
    if response.finish_reason == "tool_calls" and not response.message.tool_calls:
        raise IncompleteError("the answer ended with a tool call that did not arrive", reason="no_tool_call")
    is_limited = any(chosen.get(name) for chosen in options for name in _LENGTH_LIMITS)
    if response.finish_reason == "length" and not is_limited:
        raise IncompleteError(
            "the answer was cut at the model's length limit", hint="raise it with -o max_tokens=N", reason="length"
        )


def explain_disconnect(state: CallState, error: LlmctlError, disconnect: LlmctlError | None) -> LlmctlError:
    """Return what a lost connection means for the answer; an error that the provider sent stays what it is."""
    is_cut = error is disconnect or error.reason == "too_large"
    if not is_cut or not state.event_count or (error.reason == "timeout" and not state.delivered):
        return error
    return IncompleteError(
        f"the answer was interrupted: {error.message}", hint=error.hint, reason=error.reason or "cut"
    )


def send(
    request: HttpRequest,
    *,
    attempt: int,
    remaining_s: float | None,
    runtime: RuntimeEnv,
    before_wait: Callable[[], None] | None,
) -> AbstractContextManager[StreamedResponse]:
    """Open one attempt, over the network or to the model in this process.

    ``remaining_s`` limits it, from now to the last byte. ``before_wait`` is called each time before waiting for more
    of the body; only one thread of a process may ask for that.
    """
    if request.url.startswith(_ECHO):
        return _echo_response(request, attempt, remaining_s, runtime, before_wait)
    from llmctl.transport import client  # httpx: not for echo

    timeouts = client.Timeouts(total=remaining_s)
    return client.send_request(
        request, timeouts, loopback_only=runtime.offline, before_read=before_wait, interrupt=runtime.interrupt
    )


@contextmanager
def _echo_response(
    request: HttpRequest,
    attempt: int,
    remaining_s: float | None,
    runtime: RuntimeEnv,
    before_wait: Callable[[], None] | None,
) -> Iterator[StreamedResponse]:
    from llmctl.providers import echo

    deadline = None if remaining_s is None else time.monotonic() + remaining_s

    def sleep(seconds: float) -> None:
        if before_wait is not None:
            before_wait()
        left = seconds if deadline is None else min(seconds, deadline - time.monotonic())
        if left > 0 or runtime.interrupt is not None:  # sleeping lets go of Python's lock, and waits for it again
            runtime.sleep(max(0.0, left))
        if left < seconds:
            raise UnavailableError("no answer in time", reason="timeout")

    yield echo.respond(json.loads(request.body), attempt, sleep=sleep)
