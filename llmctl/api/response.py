"""The result of a turn, for Python programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llmctl.core.stored_values import decode_arguments
from llmctl.engine.turn.state import TurnResult

_CACHE_FIELDS = ("cached_from", "age_s", "saved_cost")


@dataclass(frozen=True, slots=True)
class Response:
    """The result of a turn, as ``chat --json`` has it: ids of the last step, totals of the turn. ``str()`` is its text.

    ``usage`` has ``input_tokens output_tokens total_tokens cached_tokens cache_write_tokens thinking_tokens``;
    ``cost`` is in US dollars, None if the price is unknown. ``data`` is the parsed value of an answer with a
    schema. ``tool_calls`` have ``id name arguments result status``.
    """

    status: str
    content: str
    thinking: str | None
    data: Any
    tool_calls: list[dict[str, Any]]
    #: Tokens; None where the provider reported none.
    usage: Mapping[str, int | None]
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
    #: Whether the answer is that of an earlier request, and which; None where no cache was asked for.
    cached: bool | None = None
    cached_from: str | None = None
    age_s: float | None = None
    saved_cost: float | None = None
    #: Messages about what was left out or went wrong.
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.content

    @property
    def input_tokens(self) -> int | None:
        return self.usage["input_tokens"]

    @property
    def output_tokens(self) -> int | None:
        return self.usage["output_tokens"]

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``chat --json`` prints it."""
        left_out = {"notes", *(() if self.cached else _CACHE_FIELDS), *({"cached"} if self.cached is None else ())}
        return {name.name: getattr(self, name.name) for name in fields(self) if name.name not in left_out}


def to_response(result: TurnResult, notes: tuple[str, ...] = ()) -> Response:
    """Return the result of a turn, or its current state."""
    values = dict(result.to_json(decode_arguments))
    return Response(**values | {"content": values["content"] or "", "notes": notes})
