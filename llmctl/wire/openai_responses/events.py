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
from llmctl.core.errors import IncompleteError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire.openai_responses.items import CALL, MESSAGE, REASONING, Identity, Item, ItemTable
from llmctl.wire.openai_responses.request import (
    ITEMS,
    PHASE,
    list_text_pieces,
    placeholder_metadata,
    reasoning_metadata,
)
from llmctl.wire.responses import (
    EventObjects,
    bare_error,
    classify_error,
    filter_objects,
    get_object,
    parse_body,
    parse_finish_reason,
    parse_service_tier,
)
from llmctl.wire.responses import parse_usage as parse_counts
from llmctl.wire.tool_calls import Piece, encode_arguments

_SEPARATOR = "\n\n"
#: Fields of a call that are stored elsewhere or need not be sent back.
_CALL_FIELDS = ("type", "id", "call_id", "name", "arguments", "status", "parsed_arguments")

Events = list[StreamEvent]


class ResponsesEventReader:
    """The state of one response."""

    def __init__(self) -> None:
        self._items = ItemTable()
        self._start = ResponseStart()
        self._metadata: dict[str, list[Any]] = {}
        self._response: dict[str, Any] | None = None
        self._readers: dict[str | None, Callable[[dict[str, Any]], Events]] = {
            "response.output_text.delta": self._read_text,
            "response.output_text.done": self._read_text,
            "response.refusal.delta": self._read_text,
            "response.refusal.done": self._read_text,
            "response.content_part.done": self._read_part,
            "response.reasoning_summary_text.delta": self._read_thinking,
            "response.reasoning_summary_text.done": self._read_thinking,
            "response.reasoning_summary_part.done": self._read_part,
            "response.reasoning_text.delta": self._read_thinking,
            "response.reasoning_text.done": self._read_thinking,
            "response.function_call_arguments.delta": self._read_arguments,
            "response.function_call_arguments.done": self._read_arguments,
            "response.output_text.annotation.added": self._read_annotation,
            "response.output_item.added": self._read_item_start,
            "response.output_item.done": self._read_item_end,
            "response.created": self._read_start,
            "response.in_progress": self._read_start,
            "response.completed": self._read_end,
            "response.done": self._read_end,
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
        output = response.get("output")
        places = enumerate(output) if isinstance(output, list) else ()
        items = [(Identity.of_item(item, place), item) for place, item in places if isinstance(item, dict)]
        for known, item in self._items.match_output(items):
            was_finished, known.is_finished = known.is_finished, True
            events += self._read_item(known, item, was_finished=was_finished)
        usage = response.get("usage")
        if usage and isinstance(usage, dict) and (counts := parse_usage(usage, output)):
            tier = parse_service_tier(response.get("service_tier")) or counts.service_tier
            events.append(UsageReport(counts.replace(service_tier=tier)))
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
            return Finish(parse_finish_reason(raw, "incomplete"), raw or status)
        calls = [item for item in self._items if item.kind == CALL]
        for call in calls:
            if not (call.is_finished or call.has_arguments or call.arguments.text):
                raise IncompleteError(
                    f'the provider announced a call of "{call.name}" and sent no arguments', reason="no_arguments"
                )
        return Finish("tool_calls" if calls else "stop", status)

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
        whole = _get_text(event, "text") or _get_text(event, "refusal")
        return self._add_text(event, _get_text(event, "delta"), whole)

    def _add_text(self, event: dict[str, Any], delta: str, whole: str) -> Events:
        if not delta and not whole:
            return []
        item = self._items.find(Identity.of_event(MESSAGE, event))
        part = event.get("content_index", 0)
        text = delta or item.find_rest(part, whole)
        return [_text_delta(item.add(part, text), item)] if text else []

    def _read_thinking(self, event: dict[str, Any]) -> Events:
        family = str(event.get("type")).rpartition(".")[0].removesuffix("_part").removesuffix("_text")
        return self._add_thinking(event, family, _get_text(event, "delta"), _get_text(event, "text"))

    def _add_thinking(self, event: dict[str, Any], family: str, delta: str, whole: str) -> Events:
        if not delta and not whole:
            return []
        item = self._items.find(Identity.of_event(REASONING, event))
        part = (family, str(event.get("summary_index", event.get("content_index"))))
        text = delta or item.find_rest(part, whole)
        if not text:
            return []
        separator = item.add((part, "separator"), _SEPARATOR) if item.parts and part not in item.parts else ""
        return [ThinkingDelta(separator + item.add(part, text), index=item.index)]

    def _read_part(self, event: dict[str, Any]) -> Events:
        part = event.get("part")
        if not isinstance(part, dict):
            return []
        whole = _get_text(part, "text") or _get_text(part, "refusal")
        match part.get("type"):
            case "summary_text":
                return self._add_thinking(event, "response.reasoning_summary", "", whole)
            case "reasoning_text":
                return self._add_thinking(event, "response.reasoning", "", whole)
        return self._add_text(event, "", whole)

    def _read_arguments(self, event: dict[str, Any]) -> Events:
        call = self._items.find(Identity.of_event(CALL, event))
        if "delta" in event:
            piece = call.arguments.add(_get_text(event, "delta"))
        else:
            call.has_arguments = True
            piece = call.arguments.complete(encode_arguments(event.get("arguments")))
        return _arguments_delta(call, piece)

    def _read_annotation(self, event: dict[str, Any]) -> Events:
        return self._add_metadata("annotations", [event.get("annotation")])

    def _read_item_start(self, event: dict[str, Any]) -> Events:
        item = event.get("item")
        if not isinstance(item, dict):
            return []
        known = self._items.begin(Identity.of_item(item, event.get("output_index")))
        if known.kind == CALL:
            return self._read_call(known, item, known.arguments.add(encode_arguments(item.get("arguments"))))
        known.phase = known.phase or _get_text(item, "phase") or None
        return []

    def _read_item_end(self, event: dict[str, Any]) -> Events:
        item = event.get("item")
        if not isinstance(item, dict):
            return []
        text = _SEPARATOR.join(_list_texts(item)) if item.get("type") == REASONING else "".join(_list_texts(item))
        known = self._items.end(Identity.of_item(item, event.get("output_index")), text)
        return self._read_item(known, item, was_finished=False)

    def _read_item(self, known: Item, item: dict[str, Any], *, was_finished: bool) -> Events:
        """Return what a finished item has beyond what was emitted."""
        match known.kind:
            case "message":
                return self._read_message(known, item)
            case "reasoning":
                return self._read_reasoning(known, item, was_finished=was_finished)
            case "function_call":
                piece = known.arguments.complete(encode_arguments(item.get("arguments")))
                return self._read_call(known, item, piece)
        if was_finished:
            return []
        notes = self._metadata.get(ITEMS, [])
        placeholder = ThinkingDelta(index=known.index, metadata=placeholder_metadata(len(notes)))
        return [placeholder, *self._add_metadata(ITEMS, [item], allow_duplicates=True)]

    def _read_message(self, known: Item, item: dict[str, Any]) -> Events:
        known.phase = known.phase or (None if known.parts else _get_text(item, "phase") or None)
        text, emitted = "".join(_list_texts(item)), known.text
        rest = text[len(emitted) :] if text.startswith(emitted) else ""
        events: Events = [_text_delta(known.add("rest", rest), known)] if rest else []
        for part in filter_objects(item.get("content")):
            annotations = part.get("annotations")
            events += self._add_metadata("annotations", annotations if isinstance(annotations, list) else [])
            if part.get("type") == "refusal":
                events.append(MessageMetadata({"refusal": True}))
        return events

    def _read_reasoning(self, known: Item, item: dict[str, Any], *, was_finished: bool) -> Events:
        text, emitted = _SEPARATOR.join(_list_texts(item)), known.text
        rest = text[len(emitted) :] if text.startswith(emitted) else ""
        if rest:
            known.add("rest", rest)
        # That of the finished item is wanted back; the finished response encrypts it again.
        signature = None if known.is_signed else _get_text(item, "encrypted_content") or None
        known.is_signed = known.is_signed or signature is not None
        if was_finished and not rest and not signature:
            return []
        return [ThinkingDelta(rest, signature, known.index, reasoning_metadata(item))]

    def _read_call(self, call: Item, item: dict[str, Any], piece: Piece) -> Events:
        is_new = call.name is None
        name, call_id = _get_text(item, "name"), _get_text(item, "call_id")
        new_name = name if name != call.name else None
        call.name = name or call.name or ""
        if not is_new:
            events = _arguments_delta(call, piece)
            return [ToolCallDelta(call.index, name=new_name), *events] if new_name else events
        own = {name: value for name, value in item.items() if name not in _CALL_FIELDS and value is not None}
        metadata = {"responses_call": own} if own else {}
        id = call_id or _get_text(item, "id") or f"call_{call.index}"
        return [ToolCallDelta(call.index, id, new_name or None, piece[0], metadata, piece[1])]

    def _add_metadata(self, name: str, notes: list[Any], *, allow_duplicates: bool = False) -> Events:
        """Append to a list in the message's metadata, skipping known entries unless ``allow_duplicates``."""
        known = self._metadata.get(name, [])
        new = [note for note in notes if allow_duplicates or note not in known]
        if not new:
            return []
        self._metadata[name] = [*known, *new]
        return [MessageMetadata({name: self._metadata[name]})]


def _list_texts(item: dict[str, Any]) -> list[str]:
    """Return the texts of a message or a reasoning item."""
    if item.get("type") == REASONING:
        return [piece["text"] for piece in list_text_pieces(item) if piece["text"]]
    return [_get_text(part, "text") or _get_text(part, "refusal") for part in filter_objects(item.get("content"))]


def _arguments_delta(call: Item, piece: Piece) -> Events:
    text, replaces = piece
    return [ToolCallDelta(call.index, arguments=text, replaces=replaces)] if text else []


def _text_delta(text: str, item: Item) -> TextDelta:
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
    objects = EventObjects(events)
    for chunk in objects:
        if isinstance(chunk, Unreadable):
            yield chunk
            continue
        kind = chunk.get("type", objects.name)
        if kind == "error":
            raise classify_error(chunk)
        if kind is None and (error := bare_error(chunk)):
            raise error
        yield from reader.read(str(kind), chunk)
        if reader.has_ended:
            yield reader.finish()
            return
    yield from objects.explain_end()


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response.

    Raises (while iterating) the error in a 200 response, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or a truncated body, ``no_answer`` for JSON without an answer.
    """
    answer = parse_body(body)
    if not isinstance(answer.get("output"), list) and not isinstance(answer.get("status"), str):
        raise bare_error(answer) or UnavailableError("the response has no output", reason="no_answer", status_code=200)
    reader = ResponsesEventReader()
    yield from reader.whole(answer)
    yield reader.finish()


def parse_usage(data: dict[str, Any], output: Any = ()) -> Usage | None:
    """Return the counts; None if there are none.

    Searches are billed separately; they are counted from the items of the ``output``.
    """
    usage = parse_counts(data)
    if usage and (searches := _count_searches(output)):
        return usage.replace(details={**usage.details, "web_searches": searches})
    return usage


def _count_searches(output: Any) -> int:
    """Return the number of web searches; opening a page or finding text in it does not count."""
    items = output if isinstance(output, list) else []
    found = [item for item in items if isinstance(item, dict) and item.get("type") == "web_search_call"]
    return sum(get_object(item, "action").get("type", "search") == "search" for item in found)
