"""Convert responses to events: lines of JSON, the last of them ``done``; a whole response is one such line.

https://docs.ollama.com/api/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.chat import (
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
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.core.registry import LazyFunction
from llmctl.wire.ollama.request import ORIGIN
from llmctl.wire.responses import (
    EventObjects,
    bare_error,
    find_unknown_side,
    parse_body,
    parse_count,
    parse_finish_reason,
)
from llmctl.wire.tool_calls import encode_arguments

# Errors are rare: their module is imported for the first one.
parse_embedded_error: Callable[[Mapping[str, Any]], LlmctlError] = LazyFunction(
    "llmctl.wire.ollama.errors:parse_embedded_error"
)

_ORIGIN_METADATA = {"wire": ORIGIN}


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of the lines; ``Finish`` only if one is ``done``. Raises the error of a line."""
    reader = OllamaEventReader()
    objects = EventObjects(events, parse_embedded_error)
    for chunk in objects:
        if isinstance(chunk, Unreadable):
            yield chunk
            continue
        yield from reader.read(chunk)
        if chunk.get("done") is True:
            return
    yield from objects.explain_end()


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response. Raises the error in a 200 response, and for JSON without an answer."""
    answer = parse_body(body)
    if not isinstance(answer.get("message"), dict):
        no_answer = UnavailableError("the response has no message", reason="no_answer", status_code=200)
        raise _find_error(answer) or no_answer
    yield from OllamaEventReader().read(answer | {"done": True})


def _find_error(chunk: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error of a line, or of what a gateway sends in its place."""
    has_answer = isinstance(chunk.get("message"), dict) or "done" in chunk
    return parse_embedded_error(chunk) if chunk.get("error") or (not has_answer and bare_error(chunk)) else None


class OllamaEventReader:
    """The state of one response. Thinking that other content interrupts continues as a new part."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._thinking_index = 0
        self._is_thinking = False
        self._call_count = 0

    def read(self, chunk: dict[str, Any]) -> list[StreamEvent]:
        if error := _find_error(chunk):
            raise error
        events: list[StreamEvent] = []
        model = chunk.get("model")
        if model != self._model and isinstance(model, str):
            self._model = model
            events.append(ResponseStart(model))
        message = chunk.get("message")
        if isinstance(message, dict):
            self._read_message(message, events)
        if chunk.get("done") is True:
            events += self._read_end(chunk)
        return events

    def _read_message(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        thought, text, calls = message.get("thinking"), message.get("content"), message.get("tool_calls")
        if thought and isinstance(thought, str):
            self._thinking_index += not self._is_thinking
            self._is_thinking = True
            events.append(ThinkingDelta(thought, index=self._thinking_index, metadata=_ORIGIN_METADATA))
        if text and isinstance(text, str):
            self._is_thinking = False
            events.append(TextDelta(text))
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                self._is_thinking = False
                events.append(self._read_call(call))

    def _read_call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        """Return a call; calls arrive whole, in older versions without an id."""
        function, id = call["function"], call.get("id")
        self._call_count += 1
        return ToolCallDelta(
            self._call_count - 1,
            id if id and isinstance(id, str) else f"call_{self._call_count - 1}",
            str(function.get("name") or ""),
            encode_arguments(function.get("arguments")) or "{}",
        )

    def _read_end(self, chunk: Mapping[str, Any]) -> list[StreamEvent]:
        raw = chunk.get("done_reason")
        raw = raw if isinstance(raw, str) and raw else None
        reason = parse_finish_reason(raw) if raw else "stop"
        finish = Finish("tool_calls" if self._call_count and reason == "stop" else reason, raw)
        # Newer versions count cached tokens, older ones omit them.
        counts = parse_count(chunk, "prompt_eval_count"), parse_count(chunk, "eval_count")
        if not any(counts):
            return [finish]
        unknown = find_unknown_side(*counts, says_output=chunk.get("eval_count") is not None)
        return [UsageReport(Usage(*counts, unknown=unknown)), finish]
