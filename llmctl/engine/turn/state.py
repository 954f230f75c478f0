"""The values of a running turn: where its rows go, how its calls and HTTP attempts stand, and what it comes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse, Message, ResponseBuilder, Usage
from llmctl.core.errors import LlmctlError
from llmctl.core.values import Value
from llmctl.engine.billing.cost import Reservation
from llmctl.engine.runtime import ToolEvent
from llmctl.engine.turn.history import HistoryEntry, Origin
from llmctl.store.database import Insert, Write
from llmctl.store.records.types import ChatRow, ThreadRow


class TurnIds:
    """The rows a turn stands on. ``seq`` and ``last_time`` are those of its last message so far.

    ``chat_id`` is empty where the thread belongs to no chat.
    """

    def __init__(self, chat_id: str, thread_id: str, job_id: str, seq: int, last_time: str) -> None:
        self.chat_id = chat_id
        self.thread_id = thread_id
        self.job_id = job_id
        self.seq = seq
        self.last_time = last_time
        #: What the turn began with, for a hub that has lost it: rows that were there, and those it wrote.
        self.existing: tuple[ChatRow | None, ThreadRow | None] = (None, None)
        self.begin_writes: tuple[Write, ...] = ()

    def restore_writes(self) -> list[Write]:
        """Return what begins the turn in a hub that knows nothing of it."""
        chat, thread = self.existing
        known: list[Write] = [Insert("chats", chat.to_dict())] if chat else []
        known += [Insert("message_threads", thread.to_dict() | {"locking_job_id": None})] if thread else []
        return [*known, *self.begin_writes]

    def advance(self) -> tuple[int, str]:
        """Return place and time of the next message: times strictly increase within a chat."""
        self.seq += 1
        self.last_time = max(clock.now(), clock.add_seconds(self.last_time, 0.001)) if self.last_time else clock.now()
        return self.seq, self.last_time


#: Errors after which a host may have answered all the same, into the void.
_LOST_ANSWERS = ("timeout", "reset", "cut")


class StepRequest(Value):
    """What one step of a turn sends."""

    number: int
    request: ChatRequest
    #: The rows that the messages come from.
    entries: Sequence[HistoryEntry]
    #: Whether a hook changed the messages: then they are in no row.
    is_changed: bool = False


class CallState:
    """One call to a model while it runs."""

    def __init__(
        self,
        message_id: str,
        request_id: str,
        stream_id: str,
        seq: int,
        *,
        reservation: Reservation | None = None,
        origin: Origin | None = None,
        tool_names: Collection[str] = (),
    ) -> None:
        self.message_id = message_id
        self.request_id = request_id
        self.stream_id = stream_id
        self.seq = seq
        #: The cost reserved for it, where a limit is set.
        self.reservation = reservation
        #: The model that is called, where it answers a chat.
        self.origin = origin
        #: Sent name -> own name of its tools, where they differ.
        self.renamed_tools: Mapping[str, str] = {}
        #: The tools that the model may call.
        self.tool_names = tool_names
        #: What the row of the request says of the cache: its key, or the request whose answer it uses.
        self.cache_columns: Mapping[str, Any] = {}
        #: Why no stored answer was used, where one was asked for.
        self.cache_miss: str | None = None
        self.started = time.monotonic()
        self.time_to_first_token_ms: int | None = None
        #: Whether an event was shown.
        self.delivered = False
        #: Whether an attempt before the running one may cost something.
        self.had_billable_attempt = False
        self.discard_received()

    def discard_received(self) -> None:
        """Start with nothing received: a failed attempt leaves nothing to the next one."""
        #: Of the running attempt.
        self.status_code: int | None = None
        self.fold = ResponseBuilder(self.tool_names)
        self.chunks: list[bytes] = []
        #: ``[offset in bytes, milliseconds since the start]`` of each commit.
        self.timeline: list[list[int]] = []
        self.size_bytes = 0
        #: How many chunks are in the hub, and how many bytes are not.
        self.committed_chunks = 0
        self.uncommitted_bytes = 0
        #: Bytes that may be the beginning of a secret, how many secrets the text held, and whether other fields did.
        self.held_back = b""
        self.redactions = 0
        self.has_redacted_field = False
        #: Events read so far.
        self.event_count = 0

    @property
    def is_cached(self) -> bool:
        """Whether the answer is that of an earlier request."""
        return "cached_from" in self.cache_columns

    def may_be_billed(self, error: LlmctlError | None) -> bool:
        """Return whether a call without usage may cost something: an attempt was sent, and was not refused."""
        if self.had_billable_attempt:
            return True
        if self.status_code is not None:
            return 200 <= self.status_code < 300
        return error is None or error.reason in _LOST_ANSWERS

    def end_attempt(self, error: LlmctlError) -> None:
        """Forget what a failed attempt received, before the next one."""
        self.had_billable_attempt = self.may_be_billed(error)
        self.discard_received()

    def count_redactions(self, count: int) -> None:
        self.redactions += count

    def note_redacted_field(self) -> None:
        self.has_redacted_field = True


class Attempt:
    """One HTTP attempt while it runs."""

    def __init__(self, id: str, number: int = 1) -> None:
        self.id = id
        self.number = number
        self.started = time.monotonic()
        self.status_code: int | None = None
        self.headers: Mapping[str, str] = {}
        self.time_to_first_byte_ms: int | None = None
        #: What is stored of the answer: the body of a refusal.
        self.body: bytes | None = None


class CallEnd(Value):
    """How a call to a model ended."""

    #: Status of the request.
    status: str
    response: ChatResponse
    keeps_message: bool
    #: Totals of the turn, for the message.
    totals: Mapping[str, Any]
    error: LlmctlError | None
    #: What it cost, as columns of the request.
    cost_columns: Mapping[str, Any] = {}


_TOKENS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
)


class TurnResult:
    """Totals of a turn and the ids of its last step: the object of ``chat --json``."""

    def __init__(self, provider: str = "", model: str = "", connection: str | None = None) -> None:
        self.chat_id: str | None = None
        self.thread_id: str | None = None
        self.session_id: str | None = None
        self.message_id: str | None = None
        self.request_id: str | None = None
        self.status = "pending"
        self.response: ChatResponse | None = None
        self.provider = provider
        self.model = model
        self.connection = connection
        self.tool_events: list[ToolEvent] = []
        self.usage = dict.fromkeys(_TOKENS, 0)
        self.cost: float | None = None
        self.duration_ms = 0
        self.time_to_first_token_ms: int | None = None
        self.steps = 0
        #: Whether a provider reported any usage.
        self.usage_known = False
        #: ``input`` or ``output``, where a step has no count of it.
        self.unknown_sides: set[str] = set()
        #: The value of an answer that matches its schema.
        self.data: Any = None
        #: What the turn added to the conversation, in order.
        self.new_messages: list[Message] = []
        #: Whether the last answer is a stored one, and which; empty where no cache was asked for.
        self.cache_report: Mapping[str, Any] = {}

    def add_response(self, response: ChatResponse, cost: float | None) -> None:
        """Count a step and its cost in US dollars; None where that is unknown."""
        self.response = response
        self.model = response.model or self.model
        usage = response.usage or Usage()
        self.usage_known = self.usage_known or response.usage is not None
        self.new_messages.append(response.message)
        self.unknown_sides |= {usage.unknown} if usage.unknown else set()
        for name in _TOKENS:
            self.usage[name] += getattr(usage, name)
        if cost is not None:
            self.cost = round((self.cost or 0.0) + cost, 12)

    def report_usage(self) -> dict[str, int | None]:
        """Return the tokens of the turn; None for what a provider did not count."""
        if not self.usage_known:
            return dict.fromkeys(_TOKENS)
        unknown = {f"{side}_tokens" for side in self.unknown_sides} | (
            {"total_tokens"} if self.unknown_sides else set()
        )
        return {name: None if name in unknown else count for name, count in self.usage.items()}

    def add_tool_event(self, event: ToolEvent) -> ToolEvent:
        """Replace the pending event of the same call with its result, or append; return the event."""
        pending = next(
            (i for i, known in enumerate(self.tool_events) if known.id == event.id and known.result is None), None
        )
        if pending is None:
            self.tool_events.append(event)
        else:
            self.tool_events[pending] = event
        return event

    def to_json(self, parse_arguments: Callable[[str], Any]) -> Mapping[str, Any]:
        """Return the documented object; ``parse_arguments`` turns a call's JSON text into a value."""
        message = self.response.message if self.response else None
        return {
            "chat_id": self.chat_id,
            "thread_id": self.thread_id,
            "message_id": self.message_id,
            "request_id": self.request_id,
            "session_id": self.session_id,
            "status": self.status,
            "content": message.text if message else None,
            "thinking": (message.thinking or None) if message else None,
            "data": self.data,
            "tool_calls": [
                {
                    "id": event.id,
                    "name": event.name,
                    "arguments": parse_arguments(event.arguments),
                    "result": event.result,
                    "status": event.status,
                }
                for event in self.tool_events
            ],
            "provider": self.provider,
            "model": self.model,
            "connection": self.connection,
            "finish_reason": self.response.finish_reason if self.response else None,
            "usage": self.report_usage(),
            "cost": self.cost,
            "duration_ms": self.duration_ms,
            "time_to_first_token_ms": self.time_to_first_token_ms,
            "steps": self.steps,
            **self.cache_report,
        }
