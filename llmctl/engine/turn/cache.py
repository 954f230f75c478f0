"""Answer a request from the ledger: an equal request that was completed is replayed instead of sent again.

The rows of the paid request are the cache: nothing is stored twice, and what deletes its text forgets the answer.
Equal requests at the same time make one call: the later ones wait for the first. Loaded only when a cache is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.chat import (
    Finish,
    Message,
    MessageMetadata,
    ResponseBuilder,
    ResponseStart,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from llmctl.core.errors import LlmctlError, NotFoundError, UnavailableError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import loads
from llmctl.core.time_ranges import parse_seconds
from llmctl.core.values import Value
from llmctl.engine.billing.cost import CostTracker
from llmctl.engine.jobs import lease
from llmctl.engine.runtime import Notice, RetryScheduled, RuntimeEnv
from llmctl.engine.turn import decode
from llmctl.engine.turn.model_call import ModelCall, RequestSender, check_complete, receive_event
from llmctl.engine.turn.plan import TurnPlan
from llmctl.engine.turn.state import CallState, StepRequest, TurnIds
from llmctl.store.database import Database
from llmctl.store.records import chats, jobs, messages, requests
from llmctl.store.records.types import RequestRow
from llmctl.wire.canonical import CanonicalRequest

#: Seconds between two looks at a request that another process sends.
_POLL_INTERVAL_S = 0.05
#: Answers from the future count as expired (the clock was set back); rows of one moment are a few milliseconds apart.
_CLOCK_TOLERANCE_S = 1.0

#: Why an answer was not in the cache; ``cache explain`` says more about a new one.
MissReason = Literal["new", "expired", "incomplete", "deleted", "refreshed"]


class Hit(Value):
    """A completed request whose answer is used again."""

    request: RequestRow
    age_s: float

    def to_columns(self) -> dict[str, Any]:
        """Return what the row of the request that uses the answer says of it; the saved cost is frozen."""
        return {"cached_from": self.request.id, "saved_cost": self.request.cost}

    def to_report(self) -> dict[str, Any]:
        """Return the fields of ``chat --json``."""
        return {
            "cached": True,
            "cached_from": self.request.id,
            "age_s": round(self.age_s, 3),
            "saved_cost": self.request.cost,
        }


class Miss(Value):
    """No answer that may be used."""

    reason: MissReason


#: The fields of ``chat --json`` where an answer was asked for, and the cache had none.
MISS_REPORT: Mapping[str, Any] = {"cached": False}


class Cache:
    """The look-ups of one turn or command."""

    def __init__(self, database: Database, options: TurnOptions, runtime: RuntimeEnv) -> None:
        self._database = database
        self._options = options
        self._runtime = runtime
        #: None: answers do not expire.
        self._ttl_s = parse_seconds(options.cache or "")
        self._deadline = None if options.timeout is None else time.monotonic() + options.timeout

    def begin(
        self,
        key: str,
        *,
        is_usable: Callable[[RequestRow], bool],
        begin_hit: Callable[[Hit], None],
        begin_miss: Callable[[Miss], None],
    ) -> None:
        """Commit the rows of a request: one that uses an answer (``begin_hit``), or one that asks for it.

        Look-up and commit share a transaction: of equal requests at the same time one asks, the others wait for it.
        Raises NotFoundError where only the cache may answer, and
        UnavailableError where the time limit passes while another process asks.
        """
        while True:
            with self._database.transaction(durable=True):
                found = self._look_up(key, is_usable)
                if isinstance(found, Hit):
                    begin_hit(found)
                    return
                if isinstance(found, Miss):
                    if self._options.cached_only:
                        raise miss_error(found.reason)
                    begin_miss(found)
                    return
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise UnavailableError(
                    f"no answer within {self._options.timeout:g} s: request {found.id[:8]} asks the same and runs",
                    reason="timeout",
                )
            self._runtime.sleep(_POLL_INTERVAL_S)

    def find(self, key: str, is_usable: Callable[[RequestRow], bool]) -> Hit | Miss:
        """Return the newest answer that may be used, or why there is none; requests that run count as none.

        Raises NotFoundError where only the cache may answer.
        """
        found = self._look_up(key, is_usable)
        if isinstance(found, Hit):
            return found
        missed = found if isinstance(found, Miss) else Miss("new")
        if self._options.cached_only:
            raise miss_error(missed.reason)
        return missed

    def _look_up(self, key: str, is_usable: Callable[[RequestRow], bool]) -> Hit | Miss | RequestRow:
        """Return the newest answer that may be used, else the running request to wait for, else why there is none."""
        if self._options.refresh:
            return Miss("refreshed")
        reason: MissReason = "new"
        for row in requests.list_cached(self._database, key):
            age_s = (clock.parse(clock.now()) - clock.parse(row.created_at)).total_seconds()
            if age_s < -_CLOCK_TOLERANCE_S or (self._ttl_s is not None and age_s > self._ttl_s):
                reason = "expired"
            elif is_usable(row):
                return Hit(row, max(0.0, age_s))
            else:
                reason = "deleted"
        unfinished = requests.list_unfinished_cached(self._database, key)
        for row in unfinished:
            job = jobs.find(self._database, row.job_id) if row.status == "pending" else None
            if job is not None and lease.is_alive(job):
                return row
        return Miss("incomplete" if unfinished and reason == "new" else reason)


def miss_error(reason: MissReason) -> NotFoundError:
    """Return the error for a request that only the cache may answer."""
    text = {
        "new": "no equal request was answered",
        "expired": "the answer is too old",
        "incomplete": "the equal request was not completed",
        "deleted": "the text of the answer was deleted",
        "refreshed": "--refresh does not use it",
    }[reason]
    return NotFoundError(f"not in the cache: {text}", hint="without --cached-only it is requested", reason="cache_miss")


class CachedCall(ModelCall):
    """One step's call to a model, answered from the ledger where an equal one is there."""

    def __init__(self, database: Database, sender: RequestSender, plan: TurnPlan, step: StepRequest) -> None:
        super().__init__(sender, plan, step)
        self._database = database
        self._hit: Hit | None = None
        self._answer: Sequence[StreamEvent] | None = None
        self._hosted_tool: str | None = None

    def begin(self, ids: TurnIds, cost_tracker: CostTracker) -> CallState:
        """Commit the rows of the call: one that is answered already, or one that is sent."""
        canonical = CanonicalRequest(self._plan.target.wire, self.http)
        self._hosted_tool = canonical.find_hosted_tool()
        if self._hosted_tool is not None:
            if self._plan.options.cached_only:
                raise NotFoundError(
                    f'not in the cache: answers with "{self._hosted_tool}" depend on the day',
                    reason="cache_miss",
                )
            self.cache_report = MISS_REPORT
            return super().begin(ids, cost_tracker)
        return self._begin_cached(canonical.key, ids, cost_tracker)

    def _begin_cached(self, key: str, ids: TurnIds, cost_tracker: CostTracker) -> CallState:
        state = self._new_state(ids)

        def begin_hit(hit: Hit) -> None:
            self._hit, self.cache_report = hit, hit.to_report()
            state.cache_columns = hit.to_columns()
            self._commit(ids, state)

        def begin_miss(miss: Miss) -> None:
            self.cache_report = MISS_REPORT
            state.cache_columns, state.cache_miss = {"cache_key": key}, miss.reason
            self._reserve(state, cost_tracker)
            self._commit(ids, state)

        cache = Cache(self._database, self._plan.options, self._plan.runtime)
        cache.begin(key, is_usable=self._load_answer, begin_hit=begin_hit, begin_miss=begin_miss)
        return state

    def _load_answer(self, row: RequestRow) -> bool:
        """Read the answer of a request; return whether all of it is there and matches the schema."""
        response, events = read_answer(self._database, row)
        if events is None or not response_matches(self._plan.options.schema, response):
            return False
        self._answer = events
        return True

    def events(self) -> Iterator[StreamEvent | RetryScheduled | Notice]:
        """Replay the answer, or send the request. What is replayed is committed with the end of the call."""
        if self._hosted_tool is not None:
            yield Notice(f'not cached: answers with "{self._hosted_tool}" depend on the day')
        if self._hit is None or self._answer is None:
            yield from super().events()
            return
        state = self._sender.recorder.state
        assert state
        for event in self._answer:
            receive_event(state, event)
            yield event
        check_complete(state, self._plan.options.options, self._plan.target.options)


def response_matches(schema: Mapping[str, Any] | None, message: Message) -> bool:
    """Return whether an answer matches the schema of its turn; an answer that calls tools is not checked."""
    if schema is None or message.tool_calls:
        return True
    from llmctl.engine.turn.output_schema import check_output  # only for turns with a schema

    return not check_output(schema, message.text)[1]


def read_answer(database: Database, row: RequestRow) -> tuple[Message, list[StreamEvent] | None]:
    """Return the answer of a completed request and its events; None for them where it was not kept.

    It is read from the stream, or from the message where streams are not kept. The events report no usage.
    """
    stream = requests.find_request_stream(database, row.id)
    raw = requests.stream_bytes(database, stream) if stream else b""
    if stream and raw:
        fold = ResponseBuilder(loads(row.parameters, {}).get("tools") or ())
        format = loads(stream["format"], {})
        events = []
        with suppress(LlmctlError):
            for event in decode.decode_events([raw], *decode.wire_and_dialect(format), format.get("tools")):
                fold.add(event)
                events.append(event)
        response = fold.build()
        if response.finish_reason is not None and not response.unreadable:
            return response.message, _without_usage(events)
    found = messages.find(database, row.message_id)
    if found is None or found.status != "completed":
        return Message("assistant", ()), None
    answer = chats.to_message(found, ())
    return answer, _without_usage(_to_events(row, answer))


def _without_usage(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """Return the events of an answer that was paid already: it uses no tokens."""
    return [*(event for event in events if not isinstance(event, UsageReport)), UsageReport(Usage())]


def _to_events(row: RequestRow, message: Message) -> Iterator[StreamEvent]:
    """Yield the events that make a message."""
    yield ResponseStart(row.response_model, row.response_id)
    for index, part in enumerate(message.parts):
        match part:
            case Text(text, metadata):
                yield TextDelta(text, index if metadata else None, metadata)
            case Thinking(text, signature, metadata):
                yield ThinkingDelta(text, signature, index, metadata)
            case ToolCall(id, name, arguments, metadata):
                yield ToolCallDelta(index, id, name, arguments, metadata)
    if message.metadata:
        yield MessageMetadata(message.metadata)
    yield Finish(row.finish_reason or "stop")
