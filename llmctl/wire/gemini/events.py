"""Convert responses and stream chunks to events.

Each chunk is a GenerateContentResponse with the new parts, without a type or an end marker: the chunk with a finish
reason is the terminal one, and without it the stream was cut. https://ai.google.dev/api/generate-content

Thinking is not part of the answer's token count, nor tool input of the prompt's:
https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.chat import (
    Finish,
    MessageMetadata,
    ResponseStart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Unreadable,
    Usage,
    UsageReport,
)
from llmctl.core.errors import IncompleteError, LlmctlError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.core.stored_values import dumps
from llmctl.wire.gemini.request import CALL_ID, SIGNATURE, parse_version, thinking_metadata
from llmctl.wire.responses import (
    EventObjects,
    bare_error,
    find_unknown_side,
    format_excerpt,
    merge_usage,
    not_json_error,
    parse_count,
    parse_finish_reason,
    parse_service_tier,
    top_level_error,
)
from llmctl.wire.responses import parse_usage as parse_counts
from llmctl.wire.tool_calls import encode_arguments

#: Fields of which an answer has one.
_ANSWER_FIELDS = ("candidates", "promptFeedback", "usageMetadata")
#: Fields next to the content that belong to the message.
_METADATA_FIELDS = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


class GeminiEventReader:
    """The state of one response."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._response_id: str | None = None
        self._usage: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self._next_index = 0
        self._call_count = 0
        #: Index of the part that unsigned thinking continues.
        self._thinking: int | None = None
        self._blocked = False
        self._message: str | None = None
        #: The provider's finish reason; None until it arrives.
        self.finish_reason: str | None = None
        #: Whether any content of the message arrived.
        self.has_content = False

    def read(self, answer: dict[str, Any]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._read_start(answer, events)
        candidate = _first_candidate(answer.get("candidates"))
        if candidate is not None:
            self._read_candidate(candidate, events)
        elif "promptFeedback" in answer:
            self._read_feedback(answer["promptFeedback"], events)
        usage = answer.get("usageMetadata")
        if usage and isinstance(usage, dict) and (merged := _merge_usage(self._usage, usage)) != self._usage:
            self._usage = merged
            grounding = self._metadata.get("groundingMetadata")
            if counts := parse_usage(merged, count_searches(grounding, self._model or "") if grounding else 0):
                events.append(UsageReport(counts))
        return events

    def finish(self) -> Finish:
        """Return the terminal event. A whole response without a finish reason counts as ``stop``."""
        reason = parse_finish_reason(self.finish_reason) if self.finish_reason else "stop"
        if self._blocked:
            reason = "content_filter"
        return Finish("tool_calls" if self._call_count and reason == "stop" else reason, self.finish_reason)

    def find_failure(self) -> IncompleteError | None:
        """Return the error that the finish reason stands for; None if there is a usable answer."""
        if self._blocked:
            return None
        return explain_failure(self.finish_reason, self._message, is_empty=not self.has_content)

    def _read_start(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        model, id = answer.get("modelVersion"), answer.get("responseId")
        if (model == self._model and id == self._response_id) or not (model or id):
            return
        self._model = model if model and isinstance(model, str) else self._model
        self._response_id = id if id and isinstance(id, str) else self._response_id
        events.append(ResponseStart(self._model, self._response_id))

    def _read_candidate(self, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if parts and isinstance(parts, list):
            for part in parts:
                if isinstance(part, dict):
                    self._read_part(part, events)
        for name in _METADATA_FIELDS:
            if name in candidate:
                self._add_metadata(name, candidate[name], events)
        if is_finish_reason(reason := candidate.get("finishReason")):
            self._read_finish_reason(str(reason), candidate, events)

    def _read_finish_reason(self, reason: str, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        self.finish_reason = reason
        message = candidate.get("finishMessage")
        self._message = message if isinstance(message, str) else None
        if reason != "STOP":
            for name in ("finishMessage", "safetyRatings"):
                if value := candidate.get(name):
                    events.append(MessageMetadata({name: value}))

    def _read_feedback(self, feedback: Any, events: list[StreamEvent]) -> None:
        """Read the reason of a blocked prompt, which has no candidates."""
        if isinstance(feedback, dict) and (reason := feedback.get("blockReason")):
            self.finish_reason, self._blocked = str(reason), True
            events.append(MessageMetadata({"promptFeedback": feedback}))

    def _read_part(self, part: dict[str, Any], events: list[StreamEvent]) -> None:
        text = part.get("text")
        if isinstance(text, str) and len(part) == 1:
            if text:
                self._thinking, self.has_content = None, True
                events.append(TextDelta(text))
            return
        signature = part.get("thoughtSignature")
        signature = signature if signature and isinstance(signature, str) else None
        if isinstance(call := part.get("functionCall"), dict):
            events.append(self._read_call(call, signature))
        elif not isinstance(text, str):
            self._read_opaque_part(part, signature, events)
        elif part.get("thought"):
            events.append(self._read_thinking(part, text, signature))
        elif text or signature:
            self._read_signed_text(text, signature, events)

    def _read_signed_text(self, text: str, signature: str | None, events: list[StreamEvent]) -> None:
        """Keep signed text, and a signature without text, as a separate part."""
        self._thinking = None
        self.has_content = self.has_content or bool(text)
        index = self._take_index() if signature else None
        events.append(TextDelta(text, index, {SIGNATURE: signature} if signature else {}))

    def _read_thinking(self, part: dict[str, Any], text: str, signature: str | None) -> ThinkingDelta:
        begins = self._thinking is None or bool(signature)
        index = self._take_index() if begins or self._thinking is None else self._thinking
        self._thinking = None if signature else index
        return ThinkingDelta(text, signature, index, thinking_metadata(part) if begins else {})

    def _read_opaque_part(self, part: dict[str, Any], signature: str | None, events: list[StreamEvent]) -> None:
        """Keep output of Google's own tools, and images, unchanged so that it can be sent back."""
        if any(value for name, value in part.items() if name not in ("thought", "thoughtSignature")):
            self._thinking, self.has_content = None, True
            events.append(ThinkingDelta("", signature, self._take_index(), thinking_metadata(part)))

    def _read_call(self, call: dict[str, Any], signature: str | None) -> StreamEvent:
        name = call.get("name")
        if not name or not isinstance(name, str) or "partialArgs" in call or call.get("willContinue"):
            return Unreadable(f'incomplete tool call: "{format_excerpt(dumps(call))}"')
        self._thinking, self.has_content = None, True
        given = call.get("id")
        given = given if given and isinstance(given, str) else None
        metadata = ({SIGNATURE: signature} if signature else {}) | ({CALL_ID: given} if given else {})
        number = self._call_count
        self._call_count += 1
        return ToolCallDelta(
            number, given or self._make_call_id(number), name, encode_arguments(call.get("args")) or "{}", metadata
        )

    def _make_call_id(self, number: int) -> str:
        """Return an id for a call without one: stable for a response, different between responses."""
        answer = re.sub("[^A-Za-z0-9_-]", "", self._response_id or "")[:24]
        return f"call_{answer}_{number}" if answer else f"call_{number}"

    def _take_index(self) -> int:
        self._next_index += 1
        return self._next_index - 1

    def _add_metadata(self, name: str, note: Any, events: list[StreamEvent]) -> None:
        known = self._metadata.get(name)
        if note and note != known and isinstance(note, dict):
            self._metadata[name] = (known or {}) | note
            events.append(MessageMetadata({name: self._metadata[name]}))


def _first_candidate(candidates: Any) -> dict[str, Any] | None:
    """Return candidate 0; further candidates are ignored."""
    if not candidates or not isinstance(candidates, list):
        return None
    for candidate in candidates:
        if isinstance(candidate, dict) and not candidate.get("index"):
            return candidate
    return None


_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
#: The model produced something that Google could not turn into an answer.
_FAILURE_REASONS = {
    "MALFORMED_FUNCTION_CALL": "malformed_tool_call",
    "UNEXPECTED_TOOL_CALL": "unexpected_tool_call",
    "TOO_MANY_TOOL_CALLS": "too_many_tool_calls",
    "MISSING_THOUGHT_SIGNATURE": "thought_signature",
    "MALFORMED_RESPONSE": "malformed_answer",
}


def is_finish_reason(word: object) -> bool:
    return isinstance(word, str) and bool(word) and word != _UNSPECIFIED


def explain_failure(word: str | None, message: str | None, *, is_empty: bool) -> IncompleteError | None:
    """Return the error that a finish reason stands for; None if there is a usable answer.

    An unknown reason is an error only if there is no content.
    """
    reason = _FAILURE_REASONS.get(word or "") or (
        "no_answer" if is_empty and word and parse_finish_reason(word) == "other" else None
    )
    if reason is None:
        return None
    from llmctl.wire.errors import sanitize_message  # rare

    text = f"the provider gave no usable answer ({word})" + (f": {message}" if message else "")
    return IncompleteError(sanitize_message(text), reason=reason, status_code=200)


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of the chunks; ``Finish`` when a finish reason arrives, and again if it changes later.

    Reading continues after that, when a broken connection loses nothing. Raises the error in a chunk, after its
    other content; an IncompleteError at the end if the answer is not usable.
    """
    reader = GeminiEventReader()
    finish: Finish | None = None
    objects = EventObjects(_ignore_cut_after_finish(events, reader))
    for chunk in objects:
        if isinstance(chunk, Unreadable):
            yield chunk
            continue
        yield from reader.read(chunk)
        if error := _find_error(chunk):
            raise error
        if reader.finish_reason is not None and (found := reader.finish()) != finish:
            finish = found
            yield found
    if finish is None:
        yield from objects.explain_end()
    elif find_failure := reader.find_failure():
        raise find_failure


def _find_error(chunk: dict[str, Any]) -> LlmctlError | None:
    return top_level_error(chunk) if any(name in chunk for name in _ANSWER_FIELDS) else bare_error(chunk)


def _ignore_cut_after_finish(events: Iterable[ServerEvent], reader: GeminiEventReader) -> Iterator[ServerEvent]:
    try:
        yield from events
    except UnavailableError:
        if reader.finish_reason is None:
            raise


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response, or of the JSON array that a stream without ``alt=sse`` is.

    Raises (while iterating) the error in a 200 response, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or a truncated body, ``no_answer`` for JSON without an answer; an IncompleteError
    at the end if the answer is not usable.
    """
    reader = GeminiEventReader()
    answered = False
    for chunk in _parse_chunks(body):
        yield from reader.read(chunk)
        if error := _find_error(chunk):
            raise error
        answered = answered or bool(chunk.get("candidates"))
    if not answered and reader.finish_reason is None:
        raise UnavailableError("the response has no candidates", reason="no_answer", status_code=200)
    yield reader.finish()
    if find_failure := reader.find_failure():
        raise find_failure


def _parse_chunks(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise not_json_error(200, body) from None
    chunks = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(chunk, dict) for chunk in chunks):
        raise not_json_error(200, body)
    return chunks


_COUNTS = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
_ADDED_COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
#: Modalities with their own prices -> the prefix of our unit names.
_DETAILS = (
    ("promptTokensDetails", "input"),
    ("toolUsePromptTokensDetails", "input"),
    ("candidatesTokensDetails", "output"),
    ("cacheTokensDetails", "cached"),
)
_PRICED = {"AUDIO": "audio", "IMAGE": "image"}


def _merge_usage(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the counts so far. Those of each chunk are complete, if they add up: what is absent is 0."""
    total = parse_count(new, "totalTokenCount")
    adds_up = total == sum(parse_count(new, name) for name in _ADDED_COUNTS)
    return new if total and adds_up else merge_usage(known, new)


def parse_usage(data: Mapping[str, Any], searches: int = 0) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    None if there are no counts: Vertex AI sends chunks whose usage only says how it is billed. ``searches`` are
    billed in addition to the tokens.
    """
    if not any(parse_count(data, name) for name in _COUNTS):
        return parse_counts(data)
    thinking = parse_count(data, "thoughtsTokenCount")
    input_tokens = parse_count(data, "promptTokenCount") + parse_count(data, "toolUsePromptTokenCount")
    output_tokens = parse_count(data, "candidatesTokenCount") + thinking
    total = parse_count(data, "totalTokenCount")
    input_tokens = input_tokens or max(0, total - output_tokens)
    says_output = bool(total) or data.get("candidatesTokenCount") is not None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        unknown=find_unknown_side(input_tokens, output_tokens, says_output=says_output),
        cached_tokens=min(parse_count(data, "cachedContentTokenCount"), input_tokens),
        thinking_tokens=thinking,
        details=_parse_details(data) | ({"web_searches": searches} if searches else {}),
        service_tier=parse_service_tier(data.get("serviceTier")),
    )


def count_searches(grounding: dict[str, Any], model: str) -> int:
    """Return the number of billed searches: every one since Gemini 3, before it at most one per prompt.

    https://ai.google.dev/gemini-api/docs/google-search
    """
    queries = grounding.get("webSearchQueries")
    count = sum(map(bool, queries)) if isinstance(queries, list) else 0
    return count if parse_version(model) >= (3, 0) else min(count, 1)


def _parse_details(data: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for field, ours in _DETAILS:
        rows = data.get(field)
        if not isinstance(rows, list):
            continue
        for row in rows:
            kind = _PRICED.get(str(row.get("modality"))) if isinstance(row, dict) else None
            if kind and (count := parse_count(row, "tokenCount")):
                unit = f"{ours}_{kind}_tokens"
                found[unit] = found.get(unit, 0) + count
    return found
