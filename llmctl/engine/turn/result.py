"""What a turn comes to: its totals, and the check of an answer that has to match a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.chat import ChatResponse
from llmctl.core.errors import InvalidOutputError
from llmctl.core.events import Usage
from llmctl.core.markdown import find_fenced_block
from llmctl.core.messages import Message, Text
from llmctl.engine.events import ToolEvent
from llmctl.engine.turn.history import CORRECTION_KEY
from llmctl.engine.turn.options import CallOptions

_TOKENS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("cached_tokens", "cache_write_tokens", "thinking_tokens"),
)


@dataclass(slots=True)
class TurnResult:
    """Totals of a turn and the ids of its last step: the object of ``chat --json``."""

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
    tool_events: list[ToolEvent] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    cost: float | None = None
    duration_ms: int = 0
    time_to_first_token_ms: int | None = None
    steps: int = 0
    #: Whether a provider reported any usage.
    usage_known: bool = False
    #: The value of an answer that matches its schema.
    data: Any = None
    #: What the turn added to the conversation, in order.
    new_messages: list[Message] = field(default_factory=list)

    def add_response(self, response: ChatResponse, cost: float | None) -> None:
        """Count a step and its cost in US dollars; None where that is unknown."""
        self.response = response
        self.model = response.model or self.model
        usage = response.usage or Usage()
        self.usage_known = self.usage_known or response.usage is not None
        self.new_messages.append(response.message)
        for name in _TOKENS:
            self.usage[name] += getattr(usage, name)
        if cost is not None:
            self.cost = round((self.cost or 0.0) + cost, 12)

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
            "usage": dict(self.usage),
            "cost": self.cost,
            "duration_ms": self.duration_ms,
            "time_to_first_token_ms": self.time_to_first_token_ms,
            "steps": self.steps,
        }


class OutputValidator:
    """Checks the answers of one turn against its schema, whatever the provider promises.

    An answer that does not match is sent back with the errors, as a further step of the same turn: the wrong answer
    stays in the thread but leaves the chat, and later turns do not send it.
    """

    def __init__(self, call_options: CallOptions, result: TurnResult) -> None:
        self._call_options = call_options
        self._result = result
        self._rounds = 0

    def validate(self, response: ChatResponse, *, is_last: bool) -> Message | None:
        """Return the correction to send, or None for a valid answer: its value is in the result.

        Raises InvalidOutputError where the answer is invalid and no round is left.
        """
        schema = self._call_options.schema
        if schema is None:
            return None
        value, errors = check_output(schema, response.message.text)
        if not errors:
            self._result.data = value
            return None
        if is_last or self._rounds >= self._call_options.fix:
            raise _invalid_output_error(errors, self._rounds)
        self._rounds += 1
        self._result.new_messages.pop()
        return _correction_message(errors, self._rounds)

    def notice_text(self) -> str:
        """Return the notice of the correction that :meth:`validate` returned last."""
        return f"the answer does not match the schema; sending it back ({self._rounds} of {self._call_options.fix})"


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise UsageError for what is not a JSON Schema."""
    from llmctl.tools import json_schema  # the validator: only for turns with a schema

    json_schema.validate_schema(schema)


def check_output(schema: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
    """Return the JSON value of an answer and its errors, one line each; no errors: it matches the schema.

    A JSON document may stand alone or be the first fenced block of the answer.
    """
    from llmctl.tools import json_schema

    try:
        value = _parse_output(text)
    except ValueError as error:
        return None, [f"invalid JSON: {error}"]
    return value, json_schema.find_errors(schema, value)


def _correction_message(errors: Sequence[str], number: int) -> Message:
    lines = "".join(f"- {line}\n" for line in errors)
    text = (
        f"Your answer does not match the required JSON Schema:\n{lines}"
        "Answer again with the complete JSON document and nothing else."
    )
    return Message("user", (Text(text),), {CORRECTION_KEY: number})


def _invalid_output_error(errors: Sequence[str], rounds: int) -> InvalidOutputError:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    after = f" after {rounds} correction{'' if rounds == 1 else 's'}" if rounds else ""
    return InvalidOutputError(
        f"the answer does not match the schema{after}: {errors[0]}{more}",
        hint="show the answer: llmctl chats show last" + ("" if rounds else "; --fix N sends it back with the errors"),
        reason="schema",
    )


def _parse_output(text: str) -> Any:
    """Read the answer as JSON, or its first fenced block. Raises ValueError."""
    try:
        return _load_json(text)
    except ValueError:
        block = find_fenced_block(text)
        if block is None:
            raise
        return _load_json(block)


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _reject_constant(word: str) -> Any:
    raise ValueError(f"{word} is not valid JSON")
