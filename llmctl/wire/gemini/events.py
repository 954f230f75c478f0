"""From one answer, or one chunk of it, to events. Streams and whole answers share this reader.

Every chunk is a whole GenerateContentResponse with the parts that are new: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from typing import Any

from llmctl.core.errors import IncompleteError
from llmctl.core.events import (
    Finish,
    MessageMetadata,
    ResponseStart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Unreadable,
    UsageReport,
)
from llmctl.core.stored_json import dumps
from llmctl.wire.gemini.finish_reasons import REASONS, broken, is_reason
from llmctl.wire.gemini.parts import CALL_ID, SIGNATURE, thought_metadata
from llmctl.wire.gemini.usage import parse_usage, searches_of
from llmctl.wire.json_body import excerpt_of

#: What stands beside the content and belongs to the message.
_NOTES = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


class Reader:
    """The state of one answer."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._response_id: str | None = None
        self._usage: Any = None
        self._said: dict[str, Any] = {}
        self._next = 0
        self._calls = 0
        #: The part that unsigned thinking goes on with.
        self._thinking: int | None = None
        self._blocked = False
        self._message: str | None = None
        #: The provider's word for why it ended; None until it says one.
        self.finish_reason: str | None = None
        #: Something of the message itself came.
        self.began = False

    def read(self, answer: dict[str, Any]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._start(answer, events)
        candidate = _first(answer.get("candidates"))
        if candidate is not None:
            self._candidate(candidate, events)
        elif "promptFeedback" in answer:
            self._feedback(answer["promptFeedback"], events)
        usage = answer.get("usageMetadata")
        if usage and usage != self._usage and isinstance(usage, dict):
            self._usage = usage
            grounding = self._said.get("groundingMetadata")
            if counts := parse_usage(usage, searches_of(grounding, self._model or "") if grounding else 0):
                events.append(UsageReport(counts))
        return events

    def finish(self) -> Finish:
        """Return the terminal event. An answer that came whole without a word for its end is a ``stop``."""
        reason = REASONS.get(self.finish_reason, "other") if self.finish_reason else "stop"
        if self._blocked:
            reason = "content_filter"
        return Finish("tool_calls" if self._calls and reason == "stop" else reason, self.finish_reason)

    def failure(self) -> IncompleteError | None:
        """Return the error that the ending means, None for an answer."""
        if self._blocked:
            return None
        return broken(self.finish_reason, self._message, said_nothing=not self.began)

    def _start(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        model, id = answer.get("modelVersion"), answer.get("responseId")
        if (model == self._model and id == self._response_id) or not (model or id):
            return
        self._model = model if model and isinstance(model, str) else self._model
        self._response_id = id if id and isinstance(id, str) else self._response_id
        events.append(ResponseStart(self._model, self._response_id))

    def _candidate(self, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if parts and isinstance(parts, list):
            for part in parts:
                if isinstance(part, dict):
                    self._part(part, events)
        for name in _NOTES:
            if name in candidate:
                self._note(name, candidate[name], events)
        if is_reason(reason := candidate.get("finishReason")):
            self._end(str(reason), candidate, events)

    def _end(self, reason: str, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        self.finish_reason = reason
        message = candidate.get("finishMessage")
        self._message = message if isinstance(message, str) else None
        if reason != "STOP":
            for name in ("finishMessage", "safetyRatings"):
                if said := candidate.get(name):
                    events.append(MessageMetadata({name: said}))

    def _feedback(self, feedback: Any, events: list[StreamEvent]) -> None:
        """A prompt that was blocked has no candidates, only the reason."""
        if isinstance(feedback, dict) and (reason := feedback.get("blockReason")):
            self.finish_reason, self._blocked = str(reason), True
            events.append(MessageMetadata({"promptFeedback": feedback}))

    def _part(self, part: dict[str, Any], events: list[StreamEvent]) -> None:
        text = part.get("text")
        if isinstance(text, str) and len(part) == 1:
            if text:
                self._thinking, self.began = None, True
                events.append(TextDelta(text))
            return
        signature = part.get("thoughtSignature")
        signature = signature if signature and isinstance(signature, str) else None
        if isinstance(call := part.get("functionCall"), dict):
            events.append(self._call(call, signature))
        elif not isinstance(text, str):
            self._opaque(part, signature, events)
        elif part.get("thought"):
            events.append(self._thought(part, text, signature))
        elif text or signature:
            self._signed(text, signature, events)

    def _signed(self, text: str, signature: str | None, events: list[StreamEvent]) -> None:
        """Text with a signature stays a part of its own, and so does a signature without any text."""
        self._thinking = None
        self.began = self.began or bool(text)
        index = self._index() if signature else None
        events.append(TextDelta(text, index, {SIGNATURE: signature} if signature else {}))

    def _thought(self, part: dict[str, Any], text: str, signature: str | None) -> ThinkingDelta:
        begins = self._thinking is None or bool(signature)
        index = self._index() if begins or self._thinking is None else self._thinking
        self._thinking = None if signature else index
        return ThinkingDelta(text, signature, index, thought_metadata(part) if begins else {})

    def _opaque(self, part: dict[str, Any], signature: str | None, events: list[StreamEvent]) -> None:
        """What Google's own tools did, and pictures: kept as it came, to be given back."""
        if any(value for name, value in part.items() if name not in ("thought", "thoughtSignature")):
            self._thinking, self.began = None, True
            events.append(ThinkingDelta("", signature, self._index(), thought_metadata(part)))

    def _call(self, call: dict[str, Any], signature: str | None) -> StreamEvent:
        name = call.get("name")
        if not name or not isinstance(name, str) or "partialArgs" in call or call.get("willContinue"):
            return Unreadable(f'a tool call in pieces: "{excerpt_of(dumps(call))}"')
        self._thinking, self.began = None, True
        given = call.get("id")
        given = given if given and isinstance(given, str) else None
        metadata = ({SIGNATURE: signature} if signature else {}) | ({CALL_ID: given} if given else {})
        number = self._calls
        self._calls += 1
        return ToolCallDelta(number, given or self._made_id(number), name, dumps(call.get("args") or {}), metadata)

    def _made_id(self, number: int) -> str:
        """Return an id for a call without one: the same whenever the answer is read, another in each answer."""
        answer = re.sub("[^A-Za-z0-9_-]", "", self._response_id or "")[:24]
        return f"call_{answer}_{number}" if answer else f"call_{number}"

    def _index(self) -> int:
        self._next += 1
        return self._next - 1

    def _note(self, name: str, note: Any, events: list[StreamEvent]) -> None:
        known = self._said.get(name)
        if note and note != known and isinstance(note, dict):
            self._said[name] = (known or {}) | note
            events.append(MessageMetadata({name: self._said[name]}))


def _first(candidates: Any) -> dict[str, Any] | None:
    """Return candidate number 0; of several answers only the first is the message."""
    if not candidates or not isinstance(candidates, list):
        return None
    for candidate in candidates:
        if isinstance(candidate, dict) and not candidate.get("index"):
            return candidate
    return None
