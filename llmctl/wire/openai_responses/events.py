"""From the events of a stream, or the items of a whole response, to events of ours.

Both go the same way: what an item holds when it is done is told as far as its pieces have not told it already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError
from llmctl.core.events import (
    Finish,
    MessageMetadata,
    ResponseStart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)
from llmctl.wire.openai_responses.items import PHASE
from llmctl.wire.openai_responses.provider_items import ITEMS, drawer_of, mark_of, pieces_of
from llmctl.wire.openai_responses.usage import parse_usage
from llmctl.wire.refusals import error_of

_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
_BETWEEN = "\n\n"
#: Fields of a call that stand elsewhere, or that nobody wants back.
_CALL_FIELDS = ("type", "id", "call_id", "name", "arguments", "status", "parsed_arguments")

Events = list[StreamEvent]


class _Item:
    """How much of an item has been told."""

    __slots__ = ("begun", "index", "phase", "piece", "size")

    def __init__(self, index: int) -> None:
        #: Number among the items of its kind.
        self.index = index
        self.size = 0
        #: The piece of a reasoning item that is being told.
        self.piece: Any = None
        self.begun = False
        #: What a message is: commentary or final answer, where the model says so.
        self.phase: str | None = None


class Reader:
    """The state of one answer."""

    def __init__(self) -> None:
        self._items: dict[Any, _Item] = {}
        self._calls = 0
        self._start = ResponseStart()
        self._notes: dict[str, list[Any]] = {}
        self._response: dict[str, Any] | None = None
        self._readers: dict[str | None, Callable[[dict[str, Any]], Events]] = {
            "response.output_text.delta": self._text_piece,
            "response.refusal.delta": self._text_piece,
            "response.reasoning_summary_text.delta": self._thinking_piece,
            "response.reasoning_text.delta": self._thinking_piece,
            "response.function_call_arguments.delta": self._arguments_piece,
            "response.output_text.annotation.added": self._annotation,
            "response.output_item.added": self._begin,
            "response.output_item.done": lambda event: self._item(_key(event), event.get("item")),
            "response.created": self._started,
            "response.in_progress": self._started,
            "response.completed": self._ended,
            "response.incomplete": self._ended,
            "response.failed": self._ended,
            "response.cancelled": self._ended,
        }

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event came."""
        return self._response is not None

    def read(self, kind: str | None, event: dict[str, Any]) -> Events:
        """Return what an event of a stream says; nothing for one that is unknown."""
        reader = self._readers.get(kind)
        return reader(event) if reader else []

    def whole(self, response: dict[str, Any]) -> Events:
        """Return what a finished response says beyond what has been told."""
        events = self._started({"response": response})
        if not self._items:
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                events += self._item(place, item)
        usage = response.get("usage")
        if usage and isinstance(usage, dict):
            events.append(UsageReport(parse_usage(usage, response.get("output"))))
        self._response = response
        return events

    def ending(self) -> Finish:
        """Return the terminal event; raise the error that the response ended with."""
        response = self._response or {}
        status = response.get("status", "completed")
        if response.get("error") or status == "failed":
            raise _failure(response)
        if status in ("queued", "in_progress", "cancelled"):
            raise RejectedError(
                f"the provider sent no answer: it is {status}", hint="leave out -o background", reason="no_answer"
            )
        details = response.get("incomplete_details")
        if status == "incomplete" or details:
            raw = details.get("reason") if isinstance(details, dict) else None
            return Finish(_REASONS.get(str(raw), "incomplete"), raw or status)
        return Finish("tool_calls" if self._calls else "stop", status)

    def _started(self, event: dict[str, Any]) -> Events:
        """Say who answers, whenever that changes."""
        response = event.get("response")
        if not isinstance(response, dict):
            return []
        start = ResponseStart(
            _text(response, "model") or self._start.model, _text(response, "id") or self._start.response_id
        )
        if start == self._start:
            return []
        self._start = start
        return [start]

    def _ended(self, event: dict[str, Any]) -> Events:
        response = event.get("response")
        status = {"status": str(event.get("type")).rpartition(".")[2]}
        return self.whole(status | response if isinstance(response, dict) else status)

    def _text_piece(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._known(_key(event))
        item.size += len(text)
        return [_phased(text, item)]

    def _thinking_piece(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._known(_key(event))
        piece = (event.get("type"), event.get("summary_index", event.get("content_index")))
        if item.size and piece != item.piece:
            text = _BETWEEN + text
        item.piece = piece
        item.size += len(text)
        return [ThinkingDelta(text, index=item.index)]

    def _arguments_piece(self, event: dict[str, Any]) -> Events:
        text = event.get("delta")
        if not text or not isinstance(text, str):
            return []
        item = self._called(_key(event))
        item.size += len(text)
        return [ToolCallDelta(item.index, arguments=text)]

    def _annotation(self, event: dict[str, Any]) -> Events:
        return self._note("annotations", [event.get("annotation")])

    def _begin(self, event: dict[str, Any]) -> Events:
        item = event.get("item")
        if not isinstance(item, dict):
            return []
        if item.get("type") == "function_call":
            return self._call(_key(event), item, whole=False)
        self._known(_key(event)).phase = _text(item, "phase") or None
        return []

    def _item(self, key: Any, item: Any) -> Events:
        """Return what a finished item says beyond what has been told."""
        if not isinstance(item, dict):
            return []
        match item.get("type"):
            case "message":
                return self._message(key, item)
            case "reasoning":
                return self._reasoning(key, item)
            case "function_call":
                return self._call(key, item, whole=True)
        notes = self._notes.get(ITEMS, [])
        mark = ThinkingDelta(index=self._known(key).index, metadata=mark_of(len(notes)))
        return [mark, *self._note(ITEMS, [item], twice=True)]

    def _message(self, key: Any, item: dict[str, Any]) -> Events:
        content = item.get("content")
        parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        text = "".join(_text(part, "text") or _text(part, "refusal") for part in parts)
        known = self._known(key)
        known.phase = known.phase or (_text(item, "phase") or None if not known.size else None)
        rest = text[known.size :]
        events: Events = [_phased(rest, known)] if rest else []
        for part in parts:
            annotations = part.get("annotations")
            events += self._note("annotations", annotations if isinstance(annotations, list) else [])
            if part.get("type") == "refusal":
                events.append(MessageMetadata({"refusal": True}))
        return events

    def _reasoning(self, key: Any, item: dict[str, Any]) -> Events:
        text = _BETWEEN.join(piece["text"] for piece in pieces_of(item) if piece["text"])
        known = self._known(key)
        signature = _text(item, "encrypted_content") or None
        return [ThinkingDelta(text[known.size :], signature, known.index, drawer_of(item))]

    def _call(self, key: Any, item: dict[str, Any], *, whole: bool) -> Events:
        call = self._called(key)
        rest = _text(item, "arguments")[call.size :]
        if call.begun and not rest:
            return []
        first = not call.begun
        call.begun = True
        call.size += len(rest)
        if not first:
            return [ToolCallDelta(call.index, arguments=rest)]
        own = {name: value for name, value in item.items() if name not in _CALL_FIELDS and value is not None}
        id = _text(item, "call_id") or _text(item, "id") or f"call_{call.index}"
        drawer = {"responses_call": own} if own else {}
        return [ToolCallDelta(call.index, id, _text(item, "name") or None, rest, drawer)]

    def _known(self, key: Any) -> _Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(len(self._items))
        return item

    def _called(self, key: Any) -> _Item:
        """Return the state of a call; calls are numbered apart from other items."""
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(self._calls)
            self._calls += 1
        return item

    def _note(self, name: str, notes: list[Any], *, twice: bool = False) -> Events:
        """Add to a list of the message's metadata; what is there already is added only if it may come ``twice``."""
        known = self._notes.get(name, [])
        new = [note for note in notes if twice or note not in known]
        if not new:
            return []
        self._notes[name] = [*known, *new]
        return [MessageMetadata({name: self._notes[name]})]


def _key(event: dict[str, Any]) -> Any:
    """Return what tells the items of a response apart."""
    place = event.get("output_index")
    return place if isinstance(place, int) else str(event.get("item_id"))


def _phased(text: str, item: _Item) -> TextDelta:
    return TextDelta(text) if item.phase is None else TextDelta(text, item.index, {PHASE: item.phase})


def _failure(response: dict[str, Any]) -> LlmctlError:
    error = response.get("error")
    return error_of({"error": error or {"message": "the provider broke the answer off", "type": "server_error"}})


def _text(holder: dict[str, Any], name: str) -> str:
    text = holder.get(name)
    return text if isinstance(text, str) else ""
