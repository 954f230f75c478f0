"""Convert messages and deltas to events, for streams and whole responses, with thinking and usage from all fields that
hosts use.

``<think>`` tags stay in the text: no host says whether they are markup or part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core.chat import (
    Finish,
    MessageMetadata,
    ResponseStart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Unreadable,
    UsageReport,
)
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire.responses import (
    EventObjects,
    bare_error,
    classify_error,
    merge_usage,
    parse_body,
    parse_finish_reason,
    parse_usage,
    top_level_error,
)

if TYPE_CHECKING:
    from llmctl.wire.tool_calls import ToolCallAssembler

#: Lists in a message that grow from chunk to chunk.
_MESSAGE_LISTS = ("annotations", "executed_tools", "images")
#: Lists next to the choices; each chunk has the whole list.
_ANSWER_LISTS = ("citations", "search_results")


class ChatEventReader:
    """The state of one response. ``read`` takes chunks (``delta``) or the whole response (``message``)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._model: str | None = None
        self._response_id: str | None = None
        self._thinking = ThinkingParts()
        self._calls: ToolCallAssembler | None = None
        self._metadata: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._service_tier: Any = None
        #: The provider's finish reason; a later null does not reset it.
        self.finish_reason: str | None = None
        #: Whether any content of the message arrived.
        self.has_content = False

    def read(self, answer: dict[str, Any], *, whole: bool = False) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._read_start(answer, events)
        choice = _first_choice(answer.get("choices"))
        if choice is not None:
            message = self._new_message(choice, whole)
            if message:
                self._read_parts(message, events, whole)
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                self.finish_reason = reason
        for name in _ANSWER_LISTS:
            if (found := answer.get(name)) and found != self._metadata.get(name):
                self._add_metadata(name, found, events)
        self._read_usage(answer, events)
        return events

    def finish(self, default: str = "stop") -> Finish:
        """Return the terminal event; ``default`` is what a missing finish reason means.

        A whole response without one counts as ``stop``. For a stream nobody said that it is complete.
        """
        reason = parse_finish_reason(self.finish_reason) if self.finish_reason else default
        is_open = reason in ("stop", default)
        return Finish("tool_calls" if self._calls and is_open else reason, self.finish_reason)

    def _read_start(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        """Report the model and response id whenever they change; Azure's first chunk has neither."""
        model, response_id = answer.get("model"), answer.get("id")
        if model == self._model and response_id == self._response_id:
            return
        before = (self._model, self._response_id)
        self._model = model if model and isinstance(model, str) else self._model
        self._response_id = response_id if response_id and isinstance(response_id, str) else self._response_id
        if before != (self._model, self._response_id):
            events.append(ResponseStart(self._model, self._response_id))

    def _new_message(self, choice: dict[str, Any], whole: bool) -> dict[str, Any] | None:
        """Return the new content. Perplexity sends both a delta and the accumulated message, streamed or not."""
        found = choice.get("message" if whole else "delta")
        if found is None and not self.has_content:
            found = choice.get("delta" if whole else "message")
        return found if isinstance(found, dict) else None

    def _read_parts(self, message: dict[str, Any], events: list[StreamEvent], whole: bool) -> None:
        before = len(events)
        events += self._thinking.read(message)
        content = message.get("content")
        if content:
            self._read_content(content, events)
        refusal = message.get("refusal")
        if refusal and isinstance(refusal, str):
            self._add_text(refusal, events)
        if pieces := _list_call_pieces(message):
            self._read_calls(pieces, events, whole)
        for name in _MESSAGE_LISTS:
            if (notes := message.get(name)) and isinstance(notes, list):
                self._extend_metadata(name, notes, events)
        if "extra_content" in message and (signature := find_thought_signature(message)):
            events.append(self._thinking.read_signature(signature, message["extra_content"]))
        self.has_content = self.has_content or len(events) > before

    def _read_content(self, content: Any, events: list[StreamEvent]) -> None:
        if isinstance(content, str):
            self._add_text(content, events)
        elif isinstance(content, list):
            for part in content:
                self._read_content_part(part, events)

    def _read_content_part(self, part: Any, events: list[StreamEvent]) -> None:
        if isinstance(part, str):
            self._add_text(part, events)
        elif isinstance(part, dict) and part.get("type") == "thinking":
            events += self._thinking.read_content_part(part)
        elif isinstance(part, dict) and isinstance(text := part.get("text"), str):
            self._add_text(text, events)
        elif part:
            self._extend_metadata("annotations", [part], events)

    def _read_calls(self, pieces: list[dict[str, Any]], events: list[StreamEvent], whole: bool) -> None:
        if self._calls is None:
            from llmctl.wire.tool_calls import ToolCallAssembler  # not needed by most answers

            self._calls = ToolCallAssembler()
        if calls := self._calls.add(pieces, whole=whole):
            self._thinking.end_part()
            events += calls

    def _add_text(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            self._thinking.end_part()
            events.append(TextDelta(text))

    def _extend_metadata(self, name: str, notes: list[Any], events: list[StreamEvent]) -> None:
        known = self._metadata.get(name, [])
        if new := [note for note in notes if note not in known]:
            self._add_metadata(name, [*known, *new], events)

    def _add_metadata(self, name: str, value: Any, events: list[StreamEvent]) -> None:
        self._metadata[name] = value
        events.append(MessageMetadata({name: value}))

    def _read_usage(self, answer: dict[str, Any], events: list[StreamEvent]) -> None:
        self._service_tier = answer.get("service_tier") or self._service_tier
        usage = answer.get("usage")
        if not usage and isinstance(groq := answer.get("x_groq"), dict):
            usage = groq.get("usage")
        if usage and isinstance(usage, dict) and (merged := merge_usage(self._usage, usage)) != self._usage:
            self._usage = merged
            tier = {"service_tier": self._service_tier} if self._service_tier else {}
            if counts := parse_usage(merged | tier, thinking_on_top=self._dialect.thinking_on_top):
                events.append(UsageReport(counts))


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """Return choice 0; further choices (``n``) are ignored."""
    if not choices or not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def _list_call_pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if calls and isinstance(calls, list):
        return [call for call in calls if isinstance(call, dict)]
    call = message.get("function_call")
    return [{"function": call}] if call and isinstance(call, dict) else []


def find_error(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error in a 200 response or in a chunk; None if there is none."""
    choices = answer.get("choices")
    if error := top_level_error(answer) if "choices" in answer else bare_error(answer):
        return error
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return classify_error(choice)
        if choice.get("finish_reason") in ("error", "insufficient_system_resource", "network_error"):
            return classify_error(
                {"error": {"message": "the provider ended the response with an error", "type": "server_error"}}
            )
    return None


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a stream; ``Finish`` only if the dialect's terminal condition is met.

    Ends at ``[DONE]``. If the finish reason is terminal, reading continues after it (usage may follow), when a broken
    connection loses nothing. Raises the error in an event, after its other content.
    """
    terminal = _TerminalState(dialect)
    reader = ChatEventReader(dialect)
    objects = EventObjects(_ignore_cut_after_finish(events, terminal))
    for chunk in objects:
        if isinstance(chunk, Unreadable):
            yield chunk
            continue
        yield from reader.read(chunk)
        if error := find_error(chunk):
            raise error
        if reader.finish_reason is not None:
            yield from terminal.on_finish_reason(reader)
    if objects.is_done:
        yield from terminal.on_done_marker(reader)
    if terminal.finish is None:
        yield from objects.explain_end()


class _TerminalState:
    """Decides when the response is complete."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.finish: Finish | None = None

    def on_done_marker(self, reader: ChatEventReader) -> Iterator[Finish]:
        """Handle ``[DONE]``; without a finish reason and content, a gateway lost the host behind it."""
        is_answer = reader.finish_reason or (self._dialect.finish_reason_optional and reader.has_content)
        if self.finish is None and is_answer:
            self.finish = reader.finish(default="other")
            yield self.finish

    def on_finish_reason(self, reader: ChatEventReader) -> Iterator[Finish]:
        """Handle a finish reason, which may be repeated."""
        if not self._dialect.done_marker and self.finish != (finish := reader.finish()):
            self.finish = finish
            yield finish


def _ignore_cut_after_finish(events: Iterable[ServerEvent], terminal: _TerminalState) -> Iterator[ServerEvent]:
    try:
        yield from events
    except UnavailableError:
        if terminal.finish is None:
            raise


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response. Complete JSON is a complete response, whatever its finish reason.

    Raises (while iterating) the error in a 200 response, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or a truncated body, ``no_answer`` for JSON without an answer.
    """
    answer = parse_body(body)
    reader = ChatEventReader(dialect)
    yield from reader.read(answer, whole=True)
    if error := find_error(answer):
        raise error
    if not reader.has_content and reader.finish_reason is None and not answer.get("choices"):
        raise UnavailableError("the response has no choices", reason="no_answer", status_code=200)
    yield reader.finish()


_TEXT_FIELDS = ("text", "summary", "signature")


class ThinkingParts:
    """Assigns each piece of thinking to a part.

    Plain text forms one part until other content arrives. Each of OpenRouter's ``reasoning_details`` is a part, with
    pieces merged by index; fields other than text and signature become the part's metadata.
    """

    def __init__(self) -> None:
        self._next = 0
        self._plain: int | None = None
        self._details: dict[str, tuple[int, dict[str, Any]]] = {}

    def end_part(self) -> None:
        """End the current part: plain thinking that follows starts a new one."""
        self._plain = None

    def read(self, message: dict[str, Any]) -> list[ThinkingDelta]:
        """Return the pieces of one delta. Text that is also in the details is not read twice."""
        events: list[ThinkingDelta] = []
        details = message.get("reasoning_details")
        if details and isinstance(details, list):
            events = [self._read_detail(detail) for detail in details if isinstance(detail, dict)]
            if any(event.text for event in events):
                return events
        text = message.get("reasoning_content") or message.get("reasoning")
        if text and isinstance(text, str):
            events.append(ThinkingDelta(text, index=self._plain_index()))
        return events

    def read_content_part(self, part: dict[str, Any]) -> list[ThinkingDelta]:
        """Return the pieces of Mistral's content part ``{"type": "thinking", "thinking": [{"type": "text", …}]}``."""
        inner = part.get("thinking")
        pieces = [inner] if isinstance(inner, str) else inner if isinstance(inner, list) else []
        texts = (piece if isinstance(piece, str) else _get_text(piece) for piece in pieces)
        return [ThinkingDelta(text, index=self._plain_index()) for text in texts if text]

    def read_signature(self, signature: str, extra: Any) -> ThinkingDelta:
        """Return Gemini's signature of a whole message as a part without text."""
        self._next += 1
        return ThinkingDelta("", signature, self._next - 1, {"extra_content": extra})

    def _plain_index(self) -> int:
        if self._plain is None:
            self._plain = self._next
            self._next += 1
        return self._plain

    def _read_detail(self, detail: dict[str, Any]) -> ThinkingDelta:
        kind = detail.get("type")
        own = detail.get("id") if kind == "reasoning.encrypted" else None
        key = repr((detail.get("index"), kind, own))
        if key not in self._details:
            self._details[key] = (self._next, {})
            self._next += 1
        index, known = self._details[key]
        metadata = {name: value for name, value in detail.items() if name not in _TEXT_FIELDS}
        changed = metadata if metadata != known else {}
        known.update(changed)
        text = _get_text(detail) or _get_text(detail, "summary")
        return ThinkingDelta(text, _get_text(detail, "signature") or None, index, changed)


def find_thought_signature(holder: dict[str, Any]) -> str | None:
    """Return the signature in ``extra_content.google`` of a message of Gemini's OpenAI API."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _get_text(holder: Any, name: str = "text") -> str:
    text = holder.get(name) if isinstance(holder, dict) else None
    return text if isinstance(text, str) else ""
