"""What a turn came to, as a program reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llmctl.engine.tools.records import parsed_arguments
from llmctl.engine.turn.result import Outcome


@dataclass(frozen=True, slots=True)
class Response:
    """The object of ``chat --json``: ids of the last step, sums of the turn. ``str(response)`` is its text.

    ``usage`` has ``input_tokens output_tokens total_tokens cached_tokens cache_write_tokens thinking_tokens``;
    ``cost`` is in US dollars, None where no price is known. ``data`` is the value of an answer that had to meet a
    schema. ``tool_calls`` have ``id name arguments result status``.
    """

    status: str
    content: str
    thinking: str | None
    data: Any
    tool_calls: list[dict[str, Any]]
    usage: Mapping[str, int]
    cost: float | None
    provider: str
    model: str
    connection: str | None
    finish_reason: str | None
    duration_ms: int
    time_to_first_token_ms: int | None
    steps: int
    chat_id: str | None
    thread_id: str | None
    message_id: str | None
    request_id: str | None
    session_id: str | None
    #: What was left out or given up on the way, in words.
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.content

    @property
    def input_tokens(self) -> int:
        return self.usage["input_tokens"]

    @property
    def output_tokens(self) -> int:
        return self.usage["output_tokens"]

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``chat --json`` writes it."""
        return {name.name: getattr(self, name.name) for name in fields(self) if name.name != "notes"}


def response_of(outcome: Outcome, notes: tuple[str, ...] = ()) -> Response:
    """Return what a turn came to, or has come to so far."""
    found = dict(outcome.as_json(parsed_arguments))
    return Response(**found | {"content": found["content"] or "", "notes": notes})
