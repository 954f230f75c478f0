"""From one message, or one delta of it, to events. Streams and whole answers share this reader.

``<think>`` tags inside the text stay there: no host says whether they are its markup or the answer's words.
"""

from __future__ import annotations

from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.events import (
    Finish,
    MessageMetadata,
    ResponseStart,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from llmctl.wire.openai_chat.thinking import ThinkingParts, thought_signature
from llmctl.wire.openai_chat.toolcalls import ToolCalls
from llmctl.wire.openai_chat.usage import parse_usage

_REASONS = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",  # Mistral: the context window was full.
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Z.ai
}
#: Lists beside a message's text; they grow from chunk to chunk.
_NOTES = ("annotations", "executed_tools", "images")
#: Lists beside the choices; each chunk carries the whole.
_FINDINGS = ("citations", "search_results")


class Reader:
    """The state of one answer. ``read`` takes chunks (``delta``) or the whole answer (``message``)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._model: str | None = None
        self._response_id: str | None = None
        self._thinking = ThinkingParts()
        self._calls = ToolCalls()
        self._said: dict[str, Any] = {}
        self._usage: Any = None
        #: The provider's word for why it ended; a later null does not take it back.
        self.finish_reason: str | None = None
        #: Something of the message itself came.
        self.began = False

    def read(self, answer: dict[str, Any], *, whole: bool = False) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._start(answer, events)
        choice = _first_choice(answer.get("choices"))
        if choice is not None:
            message = self._message(choice, whole)
            if message:
                self._parts(message, events, whole)
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                self.finish_reason = reason
        for name in _FINDINGS:
            if (found := answer.get(name)) and found != self._said.get(name):
                self._say(name, found, events)
        self._count(answer, events)
        return events

    def finish(self) -> Finish:
        """Return the terminal event. Without any word from the provider an answer that came whole is a ``stop``."""
        reason = _REASONS.get(self.finish_reason, "other") if self.finish_reason else "stop"
        return Finish("tool_calls" if self._calls and reason == "stop" else reason, self.finish_reason)

    def _start(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        """Say who answers, whenever that changes; Azure's first chunk has neither."""
        model, response_id = answer.get("model"), answer.get("id")
        if model == self._model and response_id == self._response_id:
            return
        before = (self._model, self._response_id)
        self._model = model if model and isinstance(model, str) else self._model
        self._response_id = response_id if response_id and isinstance(response_id, str) else self._response_id
        if before != (self._model, self._response_id):
            events.append(ResponseStart(self._model, self._response_id))

    def _message(self, choice: dict[str, Any], whole: bool) -> dict[str, Any] | None:
        """Return what is new. Perplexity sends delta and accumulated message side by side, streamed or not."""
        found = choice.get("message" if whole else "delta")
        if found is None and not self.began:
            found = choice.get("delta" if whole else "message")
        return found if isinstance(found, dict) else None

    def _parts(self, message: dict[str, Any], events: list[StreamEvent], whole: bool) -> None:
        before = len(events)
        events += self._thinking.read(message)
        content = message.get("content")
        if content:
            self._content(content, events)
        refusal = message.get("refusal")
        if refusal and isinstance(refusal, str):
            self._text(refusal, events)
        for piece in _pieces(message):
            if call := self._calls.add(piece, whole=whole):
                self._thinking.interrupt()
                events.append(call)
        for name in _NOTES:
            if (notes := message.get(name)) and isinstance(notes, list):
                self._note(name, notes, events)
        if "extra_content" in message and (signed := thought_signature(message)):
            events.append(self._thinking.signed(signed, message["extra_content"]))
        self.began = self.began or len(events) > before

    def _content(self, content: Any, events: list[StreamEvent]) -> None:
        if isinstance(content, str):
            self._text(content, events)
        elif isinstance(content, list):
            for part in content:
                self._content_part(part, events)

    def _content_part(self, part: Any, events: list[StreamEvent]) -> None:
        if isinstance(part, str):
            self._text(part, events)
        elif isinstance(part, dict) and part.get("type") == "thinking":
            events += self._thinking.mistral(part)
        elif isinstance(part, dict) and isinstance(text := part.get("text"), str):
            self._text(text, events)
        elif part:
            self._note("annotations", [part], events)

    def _text(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            self._thinking.interrupt()
            events.append(TextDelta(text))

    def _note(self, name: str, notes: list[Any], events: list[StreamEvent]) -> None:
        known = self._said.get(name, [])
        if new := [note for note in notes if note not in known]:
            self._say(name, [*known, *new], events)

    def _say(self, name: str, value: Any, events: list[StreamEvent]) -> None:
        self._said[name] = value
        events.append(MessageMetadata({name: value}))

    def _count(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        usage = answer.get("usage")
        if not usage and isinstance(groq := answer.get("x_groq"), dict):
            usage = groq.get("usage")
        if usage and usage != self._usage and isinstance(usage, dict):
            self._usage = usage
            if counts := parse_usage(usage, self._dialect):
                events.append(UsageReport(counts))


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """Return choice number 0; of several answers (``n``) only the first is the message."""
    if not choices or not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def _pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if calls and isinstance(calls, list):
        return [call for call in calls if isinstance(call, dict)]
    call = message.get("function_call")
    return [{"function": call}] if call and isinstance(call, dict) else []
