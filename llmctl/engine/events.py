"""What a turn reports while it runs, beside the events of the model's stream."""

from __future__ import annotations

from typing import NamedTuple

from llmctl.core.errors import LlmctlError
from llmctl.core.events import StreamEvent


class StepStarted(NamedTuple):
    """A step has its rows; ids are None where nothing is logged."""

    chat_id: str | None
    thread_id: str | None
    message_id: str | None
    request_id: str
    step: int


class RetryScheduled(NamedTuple):
    """An attempt failed; another one follows."""

    seconds: float
    attempt: int
    error: LlmctlError


class ToolEvent(NamedTuple):
    """A tool call of the model, with its result once there is one. ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str
    result: str | None = None
    status: str = "pending"


class ApprovalNeeded(NamedTuple):
    """A tool call waits for a person's decision. ``arguments`` is JSON text."""

    invocation_id: str
    name: str
    arguments: str


class Notice(NamedTuple):
    """Something the user should know that is not part of the answer."""

    text: str


TurnEvent = StreamEvent | StepStarted | RetryScheduled | ToolEvent | ApprovalNeeded | Notice
