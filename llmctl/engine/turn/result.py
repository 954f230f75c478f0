"""What a turn tells while it runs, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core.chat import ChatResponse
from llmctl.core.errors import LlmctlError
from llmctl.core.events import StreamEvent, Usage
from llmctl.core.messages import Message

_TOKENS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
)


class Started(NamedTuple):
    """A step has its rows; None where nothing is logged."""

    chat_id: str | None
    thread_id: str | None
    message_id: str | None
    request_id: str
    step: int


class Waiting(NamedTuple):
    """An attempt failed; another follows."""

    seconds: float
    attempt: int
    error: LlmctlError


class ToolRun(NamedTuple):
    """A tool call of the model, with its result once there is one. ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str
    result: str | None = None
    status: str = "pending"


class Pending(NamedTuple):
    """A tool call waits for a person's decision. ``arguments`` is JSON text."""

    invocation_id: str
    name: str
    arguments: str


class Note(NamedTuple):
    """Something the user should know beside the answer."""

    text: str


TurnEvent = StreamEvent | Started | Waiting | ToolRun | Pending | Note


@dataclass(slots=True)
class Outcome:
    """Sums of a turn and the ids of its last step: the object of ``chat --json``."""

    chat_id: str | None = None
    thread_id: str | None = None
    session_id: str | None = None
    message_id: str | None = None
    request_id: str | None = None
    status: str = "pending"
    response: ChatResponse | None = None
    provider: str = ""
    model: str = ""
    connection: str | None = None
    tool_runs: list[ToolRun] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    cost: float | None = None
    duration_ms: int = 0
    time_to_first_token_ms: int | None = None
    steps: int = 0
    #: Whether any provider said how many tokens it took.
    usage_known: bool = False
    #: The value of an answer that had to meet a schema, and does.
    data: Any = None
    #: What the turn added to the conversation, in order.
    new_messages: list[Message] = field(default_factory=list)

    def add(self, response: ChatResponse, cost: float | None) -> None:
        """Count a step in, and what it cost in US dollars; None where nobody knows."""
        self.response = response
        self.model = response.model or self.model
        usage = response.usage or Usage()
        self.usage_known = self.usage_known or response.usage is not None
        self.new_messages.append(response.message)
        for name in _TOKENS:
            self.usage[name] += getattr(usage, name)
        if cost is not None:
            self.cost = round((self.cost or 0.0) + cost, 12)

    def ran(self, run: ToolRun) -> ToolRun:
        """Put a call's result in the place of the call that waits for it; return it."""
        waiting = next(
            (i for i, known in enumerate(self.tool_runs) if known.id == run.id and known.result is None), None
        )
        if waiting is None:
            self.tool_runs.append(run)
        else:
            self.tool_runs[waiting] = run
        return run

    def as_json(self, parsed_arguments: Any) -> Mapping[str, Any]:
        """Return the documented object; ``parsed_arguments`` turns a call's JSON text into a value."""
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
                    "id": run.id,
                    "name": run.name,
                    "arguments": parsed_arguments(run.arguments),
                    "result": run.result,
                    "status": run.status,
                }
                for run in self.tool_runs
            ],
            "provider": self.provider,
            "model": self.model,
            "connection": self.connection,
            "finish_reason": self.response.finish_reason if self.response else None,
            "usage": dict(self.usage),
            "cost": self.cost,
            "duration_ms": self.duration_ms,
            "time_to_first_token_ms": self.time_to_first_token_ms,
            "steps": self.steps,
        }
