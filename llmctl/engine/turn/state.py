"""The values of a running turn: where its rows go, and how a call to a model and its HTTP attempts stand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse, ResponseBuilder
from llmctl.core.errors import LlmctlError
from llmctl.engine.billing.budget import Reservation
from llmctl.engine.turn.history import HistoryEntry


@dataclass(slots=True)
class TurnIds:
    """The rows a turn stands on. ``seq`` and ``last_time`` are those of its last message so far."""

    chat_id: str
    thread_id: str
    job_id: str
    seq: int
    last_time: str

    def advance(self) -> tuple[int, str]:
        """Return place and time of the next message: times strictly increase within a chat."""
        self.seq += 1
        self.last_time = max(clock.now(), clock.add_seconds(self.last_time, 0.001)) if self.last_time else clock.now()
        return self.seq, self.last_time


class StepRequest(NamedTuple):
    """What one step of a turn sends."""

    number: int
    request: ChatRequest
    #: The rows that the messages come from; empty where a hook changed the messages.
    entries: Sequence[HistoryEntry]


@dataclass(slots=True)
class CallState:
    """One call to a model while it runs."""

    message_id: str
    request_id: str
    stream_id: str
    seq: int
    started: float = field(default_factory=time.monotonic)
    fold: ResponseBuilder = field(default_factory=ResponseBuilder)
    chunks: list[bytes] = field(default_factory=list)
    #: ``[offset in bytes, milliseconds since the start]`` of each commit.
    timeline: list[list[int]] = field(default_factory=list)
    size_bytes: int = 0
    #: How many chunks are in the hub, and how many bytes are not.
    committed_chunks: int = 0
    uncommitted_bytes: int = 0
    #: Bytes that may be the beginning of a secret, and how many secrets the answer held.
    held_back: bytes = b""
    redactions: int = 0
    time_to_first_token_ms: int | None = None
    status_code: int | None = None
    #: Events read so far, and whether one of them was shown.
    event_count: int = 0
    delivered: bool = False
    #: The cost reserved for it, where a limit is set.
    reservation: Reservation | None = None

    def may_be_billed(self, error: LlmctlError | None) -> bool:
        """Return whether a call without usage may cost something: it was sent, and was not refused."""
        if self.status_code is not None:
            return 200 <= self.status_code < 300
        return error is None or error.reason == "timeout"

    def count_redactions(self, count: int) -> None:
        self.redactions += count


@dataclass(slots=True)
class Attempt:
    """One HTTP attempt while it runs."""

    id: str
    number: int = 1
    started: float = field(default_factory=time.monotonic)
    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    time_to_first_byte_ms: int | None = None
    #: What is stored of the answer: the body of a refusal.
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call to a model ended."""

    #: Status of the request.
    status: str
    response: ChatResponse
    keeps_message: bool
    #: Totals of the turn, for the message.
    totals: Mapping[str, Any]
    error: LlmctlError | None
    #: What it cost, as columns of the request.
    cost_columns: Mapping[str, Any] = field(default_factory=dict)
