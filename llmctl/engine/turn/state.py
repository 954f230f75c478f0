"""What is known of a call to a model, and of its HTTP attempts, while they run and when they end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmctl.core.chat import ChatResponse, Fold
from llmctl.core.errors import LlmctlError

if TYPE_CHECKING:
    from llmctl.engine.billing.budget import Reservation


@dataclass(slots=True)
class Step:
    """One call to a model while it runs."""

    message_id: str
    request_id: str
    stream_id: str
    seq: int
    started: float = field(default_factory=time.monotonic)
    fold: Fold = field(default_factory=Fold)
    pieces: list[bytes] = field(default_factory=list)
    timeline: list[list[int]] = field(default_factory=list)
    size: int = 0
    #: How many pieces are in the hub, and how many bytes are not.
    settled: int = 0
    unsettled: int = 0
    #: Bytes that may be the beginning of a secret, and how many secrets the answer held.
    waiting: bytes = b""
    secrets: int = 0
    time_to_first_token_ms: int | None = None
    status_code: int | None = None
    #: Events read so far, and whether one of them was shown.
    events: int = 0
    delivered: bool = False
    #: What is set aside for it, where a cap is set.
    reservation: Reservation | None = None

    def may_be_billed(self, error: LlmctlError | None) -> bool:
        """Say whether a call that brought no usage may cost something: it was sent, and was not refused."""
        if self.status_code is not None:
            return 200 <= self.status_code < 300
        return error is None or error.reason == "timeout"

    def struck(self, secrets: int) -> None:
        """Note that so many secrets were struck out of the answer."""
        self.secrets += secrets


@dataclass(slots=True)
class Call:
    """One HTTP attempt while it runs."""

    id: str
    started: float = field(default_factory=time.monotonic)
    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    time_to_first_byte_ms: int | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a step ended."""

    #: Status of the request.
    status: str
    response: ChatResponse
    #: Whether the message stays.
    keeps: bool
    #: Sums of the turn, for the message.
    totals: Mapping[str, Any]
    error: LlmctlError | None
    #: What it cost, as columns of the request.
    billed: Mapping[str, Any] = field(default_factory=dict)
