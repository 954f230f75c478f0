"""From content blocks to events. Streams and whole answers share this reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
from llmctl.core.stored_json import dumps
from llmctl.wire.anthropic.messages import KEPT
from llmctl.wire.anthropic.request import SCHEMA_TOOL
from llmctl.wire.anthropic.thinking import ORIGIN
from llmctl.wire.anthropic.usage import parse_usage

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "incomplete",  # Tools of the provider took long: what came goes back, and the model goes on.
}
_MARK = {"wire": ORIGIN}
_PLAIN = {"text", "tool_use", "thinking", "redacted_thinking"}
#: What an answer says beside its blocks, worth keeping where it says anything.
_NOTES = ("stop_sequence", "stop_details", "container", "context_management", "input_transformations")


class Reader:
    """The state of one answer. Blocks are gathered whole besides: what parts cannot say goes back as it came."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._usage: dict[str, Any] = {}
        self._citations: list[Any] = []
        self._called = False
        self._answered = False
        self.stop_reason: str | None = None

    @property
    def began(self) -> bool:
        return bool(self._blocks)

    def start(self, message: Mapping[str, Any]) -> list[StreamEvent]:
        """Read who answers, and the first counts."""
        model, id = message.get("model"), message.get("id")
        start = ResponseStart(model if isinstance(model, str) else None, id if isinstance(id, str) else None)
        return [start, *self.count(message.get("usage"))]

    def block(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        """Read a block, or the beginning of one."""
        self._blocks[index] = dict(block)
        match block.get("type"):
            case "text":
                events: list[StreamEvent] = self._cited(index, block.get("citations"))
                return [TextDelta(text), *events] if (text := _string(block, "text")) else events
            case "thinking":
                return self._thought(index, _string(block, "thinking"), _string(block, "signature"))
            case "redacted_thinking":
                mark = _MARK | {"redacted": _string(block, "data")}
                return [ThinkingDelta("", None, index, mark)]
            case "tool_use":
                return self._call(index, block)
        return []

    def delta(self, index: int, delta: dict[str, Any]) -> list[StreamEvent]:
        """Read a piece of a block. Kinds that nobody here knows are passed over."""
        match delta.get("type"):
            case "text_delta":
                text = _string(delta, "text")
                self._more(index, text)
                return [TextDelta(text)] if text else []
            case "input_json_delta":
                return self._arguments(index, _string(delta, "partial_json"))
            case "thinking_delta":
                text = _string(delta, "thinking")
                self._more(index, text)
                return self._thought(index, text, "")
            case "signature_delta":
                signature = _string(delta, "signature")
                self._known(index)["signature"] = signature
                return self._thought(index, "", signature)
            case "citations_delta":
                return self._cited(index, [delta.get("citation")])
            case "compaction_delta":
                self._known(index).update({name: value for name, value in delta.items() if name != "type"})
        return []

    def change(self, delta: Mapping[str, Any]) -> list[StreamEvent]:
        """Read how it ended, and what is said beside the blocks."""
        reason = delta.get("stop_reason")
        if isinstance(reason, str) and reason:
            self.stop_reason = reason
        notes = {name: value for name in _NOTES if (value := delta.get(name)) and value != {"applied_edits": []}}
        return [MessageMetadata(notes)] if notes else []

    def count(self, usage: Any) -> list[StreamEvent]:
        """Read counts; later ones replace those before, and leave alone what they do not name."""
        if not isinstance(usage, dict):
            return []
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        counts = parse_usage(self._usage)
        return [UsageReport(counts)] if counts else []

    def finish(self) -> list[StreamEvent]:
        """Return the last events. Blocks of the provider's own tools are kept whole, to be given back."""
        reason = _REASONS.get(self.stop_reason, "other") if self.stop_reason else "stop"
        if reason == "stop" and self._called:
            reason = "tool_calls"
        elif reason == "tool_calls" and self._answered and not self._called:
            reason = "stop"
        whole = self._whole()
        others = any(block["type"] not in _PLAIN for block in whole)
        kept: list[StreamEvent] = [MessageMetadata({KEPT: whole})] if others else []
        return [*kept, Finish(reason, self.stop_reason)]

    def _thought(self, index: int, text: str, signature: str) -> list[StreamEvent]:
        return [ThinkingDelta(text, signature or None, index, _MARK)] if text or signature else []

    def _call(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        given = block.get("input")
        arguments = dumps(given) if given else ""
        if block.get("name") == SCHEMA_TOOL:
            self._answered = True
            return [TextDelta(arguments)] if arguments else []
        self._called = True
        return [ToolCallDelta(index, _string(block, "id"), _string(block, "name"), arguments)]

    def _arguments(self, index: int, piece: str) -> list[StreamEvent]:
        self._more(index, piece)
        block = self._known(index)
        if not piece or block.get("type") != "tool_use":
            return []
        if block.get("name") == SCHEMA_TOOL:
            return [TextDelta(piece)]
        return [ToolCallDelta(index, arguments=piece)]

    def _cited(self, index: int, citations: Any) -> list[StreamEvent]:
        given = citations if isinstance(citations, list) else []
        found = [citation for citation in given if isinstance(citation, dict)]
        if not found:
            return []
        if (block := self._known(index)).get("citations") is not citations:
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), *found]
        self._citations = [*self._citations, *found]
        return [MessageMetadata({"citations": self._citations})]

    def _known(self, index: int) -> dict[str, Any]:
        return self._blocks.setdefault(index, {})

    def _more(self, index: int, piece: str) -> None:
        self._pieces.setdefault(index, []).append(piece)

    def _whole(self) -> list[dict[str, Any]]:
        """Return the blocks; what never began, or began without a type, is none."""
        return [
            block | self._gathered(index, block)
            for index, block in self._blocks.items()
            if isinstance(block.get("type"), str)
        ]

    def _gathered(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        """Return what the pieces of a block come to, under the name of its field."""
        said = "".join(self._pieces.get(index, ()))
        kind = str(block.get("type"))
        if not said:
            return {}
        if kind in ("text", "thinking"):
            return {kind: _string(block, kind) + said}
        try:
            return {"input": json.loads(said)}
        except (ValueError, RecursionError):
            return {}


def _string(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""
