"""Convert stream events and whole responses to our events.

Both take the same path: a finished item yields whatever its pieces have not yielded yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
from llmctl.core.errors import LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire.openai_responses.request import (
    ITEMS,
    PHASE,
    list_text_pieces,
    placeholder_metadata,
    reasoning_metadata,
)
from llmctl.wire.responses import (
    classify_error,
    format_excerpt,
    get_object,
    parse_body,
    parse_cost,
    parse_count,
    parse_object,
    top_level_error,
)

_FINISH_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
_SEPARATOR = "\n\n"
#: Fields of a call that are stored elsewhere or need not be sent back.
_CALL_FIELDS = ("type", "id", "call_id", "name", "arguments", "status", "parsed_arguments")

Events = list[StreamEvent]


class _ItemState:
    """How much of an item has been emitted."""

    __slots__ = ("index", "is_started", "phase", "piece", "size")

    def __init__(self, index: int) -> None:
        #: Number among the items of its kind.
        self.index = index
        self.size = 0
        #: The piece of a reasoning item that is being emitted.
        self.piece: Any = None
        self.is_started = False
        #: Phase of a message (commentary or final answer), if the model reports it.
        self.phase: str | None = None


class ResponsesEventReader:
    """The state of one response."""

    def __init__(self) -> None:
        self._items: dict[Any, _ItemState] = {}
        self._call_count = 0
        self._start = ResponseStart()
        self._metadata: dict[str, list[Any]] = {}
        self._response: dict[str, Any] | None = None
        self._readers: dict[str | None, Callable[[dict[str, Any]], Events]] = {
            "response.output_text.delta": self._read_text,
            "response.refusal.delta": self._read_text,
            "response.reasoning_summary_text.delta": self._read_thinking,
            "response.reasoning_text.delta": self._read_thinking,
            "response.function_call_arguments.delta": self._read_arguments,
            "response.output_text.annotation.added": self._read_annotation,
            "response.output_item.added": self._read_item_start,
            "response.output_item.done": lambda event: self._read_item(_item_key(event), event.get("item")),
            "response.created": self._read_start,
            "response.in_progress": self._read_start,
            "response.completed": self._read_end,
            "response.incomplete": self._read_end,
            "response.failed": self._read_end,
            "response.cancelled": self._read_end,
        }

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event arrived."""
        return self._response is not None

    def read(self, kind: str | None, event: dict[str, Any]) -> Events:
        """Return the events of a stream event; none if it is unknown."""
        reader = self._readers.get(kind)
        return reader(event) if reader else []

    def whole(self, response: dict[str, Any]) -> Events:
        """Return what a finished response has beyond what was emitted."""
        events = self._read_start({"response": response})
        if not self._items:
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                events += self._read_item(place, item)
        usage = response.get("usage")
        if usage and isinstance(usage, dict):
            events.append(UsageReport(parse_usage(usage, response.get("output"))))
        self._response = response
        return events

    def finish(self) -> Finish:
        """Return the terminal event; raise the error that the response ended with."""
        response = self._response or {}
        status = response.get("status", "completed")
        if response.get("error") or status == "failed":
            raise _response_error(response)
        if status in ("queued", "in_progress", "cancelled"):
            raise RejectedError(
                f"the provider sent no answer: the response is {status}", hint="omit -o background", reason="no_answer"
            )
        details = response.get("incomplete_details")
        if status == "incomplete" or details:
            raw = details.get("reason") if isinstance(details, dict) else None
            return Finish(_FINISH_REASONS.get(str(raw), "incomplete"), raw or status)
        return Finish("tool_calls" if self._call_count else "stop", status)

    def _read_start(self, event: dict[str, Any]) -> Events:
        """Report the model and response id whenever they change."""
        response = event.get("response")
        if not isinstance(response, dict):
            return []
        start = ResponseStart(
            _get_text(response, "model") or self._start.model, _get_text(response, "id") or self._start.response_id
        )
        if start == self._start:
            return []
        self._start = start
        return [start]

    def _read_end(self, event: dict[str, Any]) -> Events:
        response = event.get("response")
        status = {"status": str(event.get("type")).rpartition(".")[2]}
        return self.whole(status | response if isinstance(response, dict) else status)

    def _read_text(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._get_item(_item_key(event))
        item.size += len(text)
        return [_text_delta(text, item)]

    def _read_thinking(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._get_item(_item_key(event))
        piece = (event.get("type"), event.get("summary_index", event.get("content_index")))
        if item.size and piece != item.piece:
            text = _SEPARATOR + text
        item.piece = piece
        item.size += len(text)
        return [ThinkingDelta(text, index=item.index)]

    def _read_arguments(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._get_call(_item_key(event))
        item.size += len(text)
        return [ToolCallDelta(item.index, arguments=text)]

    def _read_annotation(self, event: dict[str, Any]) -> Events:
        return self._add_metadata("annotations", [event.get("annotation")])

    def _read_item_start(self, event: dict[str, Any]) -> Events:
        item = event.get("item")
        if not isinstance(item, dict):
            return []
        if item.get("type") == "function_call":
            return self._read_call(_item_key(event), item, whole=False)
        self._get_item(_item_key(event)).phase = _get_text(item, "phase") or None
        return []

    def _read_item(self, key: Any, item: Any) -> Events:
        """Return what a finished item has beyond what was emitted."""
        if not isinstance(item, dict):
            return []
        match item.get("type"):
            case "message":
                return self._read_message(key, item)
            case "reasoning":
                return self._read_reasoning(key, item)
            case "function_call":
                return self._read_call(key, item, whole=True)
        notes = self._metadata.get(ITEMS, [])
        placeholder = ThinkingDelta(index=self._get_item(key).index, metadata=placeholder_metadata(len(notes)))
        return [placeholder, *self._add_metadata(ITEMS, [item], allow_duplicates=True)]

    def _read_message(self, key: Any, item: dict[str, Any]) -> Events:
        content = item.get("content")
        parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        text = "".join(_get_text(part, "text") or _get_text(part, "refusal") for part in parts)
        known = self._get_item(key)
        known.phase = known.phase or (_get_text(item, "phase") or None if not known.size else None)
        rest = text[known.size :]
        events: Events = [_text_delta(rest, known)] if rest else []
        for part in parts:
            annotations = part.get("annotations")
            events += self._add_metadata("annotations", annotations if isinstance(annotations, list) else [])
            if part.get("type") == "refusal":
                events.append(MessageMetadata({"refusal": True}))
        return events

    def _read_reasoning(self, key: Any, item: dict[str, Any]) -> Events:
        text = _SEPARATOR.join(piece["text"] for piece in list_text_pieces(item) if piece["text"])
        known = self._get_item(key)
        signature = _get_text(item, "encrypted_content") or None
        return [ThinkingDelta(text[known.size :], signature, known.index, reasoning_metadata(item))]

    def _read_call(self, key: Any, item: dict[str, Any], *, whole: bool) -> Events:
        call = self._get_call(key)
        rest = _get_text(item, "arguments")[call.size :]
        if call.is_started and not rest:
            return []
        first = not call.is_started
        call.is_started = True
        call.size += len(rest)
        if not first:
            return [ToolCallDelta(call.index, arguments=rest)]
        own = {name: value for name, value in item.items() if name not in _CALL_FIELDS and value is not None}
        id = _get_text(item, "call_id") or _get_text(item, "id") or f"call_{call.index}"
        metadata = {"responses_call": own} if own else {}
        return [ToolCallDelta(call.index, id, _get_text(item, "name") or None, rest, metadata)]

    def _get_item(self, key: Any) -> _ItemState:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _ItemState(len(self._items))
        return item

    def _get_call(self, key: Any) -> _ItemState:
        """Return the state of a call; calls are numbered separately from other items."""
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _ItemState(self._call_count)
            self._call_count += 1
        return item

    def _add_metadata(self, name: str, notes: list[Any], *, allow_duplicates: bool = False) -> Events:
        """Append to a list in the message's metadata, skipping known entries unless ``allow_duplicates``."""
        known = self._metadata.get(name, [])
        new = [note for note in notes if allow_duplicates or note not in known]
        if not new:
            return []
        self._metadata[name] = [*known, *new]
        return [MessageMetadata({name: self._metadata[name]})]


def _item_key(event: dict[str, Any]) -> Any:
    """Return the key that identifies an item of a response."""
    place = event.get("output_index")
    return place if isinstance(place, int) else str(event.get("item_id"))


def _text_delta(text: str, item: _ItemState) -> TextDelta:
    return TextDelta(text) if item.phase is None else TextDelta(text, item.index, {PHASE: item.phase})


def _response_error(response: dict[str, Any]) -> LlmctlError:
    error = response.get("error")
    return classify_error(
        {"error": error or {"message": "the provider ended the response with an error", "type": "server_error"}}
    )


def _get_text(holder: dict[str, Any], name: str) -> str:
    text = holder.get(name)
    return text if isinstance(text, str) else ""


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a stream up to the finished response; unknown events are ignored.

    The type of an event is read from its JSON: not all hosts send an ``event:`` line. Raises the error in an event,
    after its other content.
    """
    reader = ResponsesEventReader()
    for event in events:
        data = event.data
        if data[:6] == "[DONE]":
            return
        chunk = parse_object(data)
        if chunk is None:
            if event.event == "error":
                raise classify_error(data)
            if data.strip():
                yield Unreadable(f'not a JSON object: "{format_excerpt(data)}"')
            continue
        kind = chunk.get("type", event.event)
        if kind == "error" or (kind is None and top_level_error(chunk)):
            raise classify_error(chunk)
        yield from reader.read(str(kind), chunk)
        if reader.has_ended:
            yield reader.finish()
            return


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response.

    Raises (while iterating) the error in a 200 response, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or a truncated body, ``no_answer`` for JSON without an answer.
    """
    answer = parse_body(body)
    if not isinstance(answer.get("output"), list) and "status" not in answer:
        if answer.get("detail"):
            raise classify_error(answer)
        raise top_level_error(answer) or UnavailableError(
            "the response has no output", reason="no_answer", status_code=200
        )
    reader = ResponsesEventReader()
    yield from reader.whole(answer)
    yield reader.finish()


def parse_usage(data: dict[str, Any], output: Any = ()) -> Usage:
    """Return the counts: input includes cached tokens, output includes thinking.

    Searches are billed separately; they are counted from the items of the ``output``.
    """
    sent, done = get_object(data, "input_tokens_details"), get_object(data, "output_tokens_details")
    input_tokens, output_tokens = parse_count(data, "input_tokens"), parse_count(data, "output_tokens")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(parse_count(sent, "cached_tokens"), input_tokens),
        cache_write_tokens=parse_count(sent, "cache_write_tokens"),
        thinking_tokens=min(parse_count(done, "reasoning_tokens"), output_tokens),
        cost=parse_cost(data),
        details={"web_searches": searches} if (searches := _count_searches(output)) else {},
    )


def _count_searches(output: Any) -> int:
    """Return the number of web searches; opening a page or finding text in it does not count."""
    items = output if isinstance(output, list) else []
    found = [item for item in items if isinstance(item, dict) and item.get("type") == "web_search_call"]
    return sum(get_object(item, "action").get("type", "search") == "search" for item in found)
