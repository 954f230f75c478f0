"""One call to a model: the request, the response, and the events that make a response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.events import (
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
from llmctl.core.messages import Message, Part, Text, Thinking, ToolCall


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A complete request in provider-neutral form."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = True
    #: The user's model options (temperature, max_tokens, ...), under the names users type.
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[ToolSpec, ...] = ()
    #: ``none``, ``low``, ``medium``, ``high`` or a number of tokens; None: the provider's default.
    thinking: str | int | None = None
    #: The thinking will be shown: some providers only return its text on request.
    shows_thinking: bool = False
    #: JSON Schema that the answer must match.
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A response. ``finish_reason`` is None if the terminal event never arrived."""

    message: Message
    usage: Usage | None = None
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    unreadable: tuple[str, ...] = ()


class ResponseBuilder:
    """Builds a response event by event; the response so far can be read at any time."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], dict[str, Any]] = {}
        self._text_run = 0
        self._metadata: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._start = ResponseStart()
        self._unreadable: list[str] = []

    def add(self, event: StreamEvent) -> None:
        match event:
            case TextDelta():
                self._add_text(event)
            case ThinkingDelta():
                self._add_thinking(event)
            case ToolCallDelta():
                self._add_tool_call(event)
            case UsageReport(usage):
                self._usage = usage
            case Finish():
                self._finish = event
            case ResponseStart(model, response_id):
                self._start = ResponseStart(model or self._start.model, response_id or self._start.response_id)
            case MessageMetadata(data):
                self._metadata |= data
            case Unreadable(detail):
                self._unreadable.append(detail)

    def build(self) -> ChatResponse:
        parts = tuple(part for block in self._blocks.items() if (part := _build_part(*block)) is not None)
        return ChatResponse(
            message=Message("assistant", parts, self._metadata),
            usage=self._usage,
            finish_reason=self._finish.reason if self._finish else None,
            raw_finish_reason=self._finish.raw if self._finish else None,
            model=self._start.model,
            response_id=self._start.response_id,
            unreadable=tuple(self._unreadable),
        )

    def _add_text(self, event: TextDelta) -> None:
        key = ("text", self._current_text_run()) if event.index is None else ("own text", event.index)
        block = self._blocks.setdefault(key, {"pieces": [], "metadata": {}})
        block["pieces"].append(event.text)
        if event.metadata:
            block["metadata"] |= event.metadata

    def _current_text_run(self) -> int:
        # Text between two tool calls is a separate part; text after text is the same part.
        last = next(reversed(self._blocks), None)
        if last is None or last[0] != "text":
            self._text_run += 1
        return self._text_run

    def _add_thinking(self, event: ThinkingDelta) -> None:
        block = self._blocks.setdefault(("thinking", event.index), {"pieces": [], "signature": None, "metadata": {}})
        block["pieces"].append(event.text)
        block["signature"] = event.signature or block["signature"]
        block["metadata"] |= event.metadata

    def _add_tool_call(self, event: ToolCallDelta) -> None:
        block = self._blocks.setdefault(
            ("tool_call", event.index), {"id": "", "name": "", "pieces": [], "metadata": {}}
        )
        block["id"] = event.id or block["id"]
        block["name"] = event.name or block["name"]
        block["pieces"].append(event.arguments)
        block["metadata"] |= event.metadata


def _build_part(key: tuple[str, int], block: dict[str, Any]) -> Part | None:
    text = "".join(block["pieces"])
    match key[0]:
        case "text" | "own text":
            return Text(text, block["metadata"]) if text or block["metadata"] else None
        case "thinking":
            has_content = text or block["signature"] or block["metadata"]
            return Thinking(text, block["signature"], block["metadata"]) if has_content else None
        case _:
            # Without an id a call and its result cannot be matched.
            return ToolCall(block["id"] or f"call_{key[1]}", block["name"], text or "{}", block["metadata"])


def collect_response(events: Iterable[StreamEvent]) -> ChatResponse:
    """Return the response that the events make."""
    builder = ResponseBuilder()
    for event in events:
        builder.add(event)
    return builder.build()
