"""Answers: lines of JSON, the last of them ``done``; a whole answer is one such line.

https://docs.ollama.com/api/streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import (
    Finish,
    ResponseStart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Unreadable,
    Usage,
    UsageReport,
)
from llmctl.core.http import ServerEvent
from llmctl.core.stored_json import dumps
from llmctl.wire.json_body import excerpt_of, object_of, whole_object
from llmctl.wire.ollama.errors import stated_error
from llmctl.wire.ollama.messages import ORIGIN
from llmctl.wire.usage_numbers import count_of

_REASONS = {"stop": "stop", "length": "length"}
_MARK = {"wire": ORIGIN}


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what the lines say; ``Finish`` only where one is ``done``. Raises the error of a line."""
    reader = _Reader()
    for event in events:
        chunk = object_of(event.data)
        if chunk is None:
            yield Unreadable(f'no JSON object: "{excerpt_of(event.data)}"')
            continue
        yield from reader.read(chunk)
        if chunk.get("done") is True:
            return


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole answer. Raises the error that a 200 carries, and what is no answer."""
    answer = whole_object(body)
    if "message" not in answer and "error" not in answer:
        raise UnavailableError("the answer holds no message", reason="no_answer", status_code=200)
    yield from _Reader().read(answer | {"done": True})


class _Reader:
    """The state of one answer. Each stretch of thinking between other things is a part of its own."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._thoughts = 0
        self._thinking = False
        self._calls = 0

    def read(self, chunk: dict[str, Any]) -> list[StreamEvent]:
        if chunk.get("error"):
            raise stated_error(chunk)
        events: list[StreamEvent] = []
        model = chunk.get("model")
        if model != self._model and isinstance(model, str):
            self._model = model
            events.append(ResponseStart(model))
        message = chunk.get("message")
        if isinstance(message, dict):
            self._message(message, events)
        if chunk.get("done") is True:
            events += self._end(chunk)
        return events

    def _message(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        thought, text, calls = message.get("thinking"), message.get("content"), message.get("tool_calls")
        if thought and isinstance(thought, str):
            self._thoughts += not self._thinking
            self._thinking = True
            events.append(ThinkingDelta(thought, index=self._thoughts, metadata=_MARK))
        if text and isinstance(text, str):
            self._thinking = False
            events.append(TextDelta(text))
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                self._thinking = False
                events.append(self._call(call))

    def _call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        """Return a call; it comes whole, in older versions without an id."""
        function, id = call["function"], call.get("id")
        self._calls += 1
        arguments = function.get("arguments")
        return ToolCallDelta(
            self._calls - 1,
            id if id and isinstance(id, str) else f"call_{self._calls - 1}",
            str(function.get("name") or ""),
            arguments if isinstance(arguments, str) else dumps(arguments or {}),
        )

    def _end(self, chunk: Mapping[str, Any]) -> list[StreamEvent]:
        raw = chunk.get("done_reason")
        raw = raw if isinstance(raw, str) and raw else None
        reason = _REASONS.get(raw, "other") if raw else "stop"
        finish = Finish("tool_calls" if self._calls and reason == "stop" else reason, raw)
        # Tokens that the server had in its cache are counted in newer versions, and missing in older ones.
        if "eval_count" not in chunk and "prompt_eval_count" not in chunk:
            return [finish]
        return [UsageReport(Usage(count_of(chunk, "prompt_eval_count"), count_of(chunk, "eval_count"))), finish]
