"""Convert content blocks to events, for streams and whole responses.

https://platform.claude.com/docs/en/build-with-claude/streaming: a stream is ``message_start``, blocks
(``content_block_start``, ``_delta``…, ``_stop``), ``message_delta``, ``message_stop``; only the last is terminal.
Its ``input_tokens`` does not include cached tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.core.registry import LazyFunction
from llmctl.core.stored_values import dumps
from llmctl.wire.anthropic.request import CONTENT_KEY, ORIGIN, SCHEMA_TOOL
from llmctl.wire.responses import format_excerpt, get_object, parse_body, parse_count, parse_object

# Errors are rare: their module is imported for the first one.
parse_embedded_error: Callable[[Mapping[str, Any]], LlmctlError] = LazyFunction(
    "llmctl.wire.anthropic.errors:parse_embedded_error"
)

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "incomplete",  # The provider's tools took long: send the content back and the model continues.
}
_ORIGIN_METADATA = {"wire": ORIGIN}
_PORTABLE_BLOCKS = {"text", "tool_use", "thinking", "redacted_thinking"}
#: Fields outside the blocks that are kept as metadata if set.
_METADATA_FIELDS = ("stop_sequence", "stop_details", "container", "context_management", "input_transformations")


class AnthropicEventReader:
    """The state of one response. Whole blocks are collected too: what parts cannot represent is sent back unchanged."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._usage: dict[str, Any] = {}
        self._citations: list[Any] = []
        self._has_tool_call = False
        self._has_schema_answer = False
        self.stop_reason: str | None = None

    @property
    def has_content(self) -> bool:
        return bool(self._blocks)

    def start(self, message: Mapping[str, Any]) -> list[StreamEvent]:
        """Read the model, the response id and the first token counts."""
        model, id = message.get("model"), message.get("id")
        start = ResponseStart(model if isinstance(model, str) else None, id if isinstance(id, str) else None)
        return [start, *self.count(message.get("usage"))]

    def block(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        """Read a block or the start of one."""
        self._blocks[index] = dict(block)
        match block.get("type"):
            case "text":
                events: list[StreamEvent] = self._add_citations(index, block.get("citations"))
                return [TextDelta(text), *events] if (text := _get_string(block, "text")) else events
            case "thinking":
                return self._thinking_delta(index, _get_string(block, "thinking"), _get_string(block, "signature"))
            case "redacted_thinking":
                mark = _ORIGIN_METADATA | {"redacted": _get_string(block, "data")}
                return [ThinkingDelta("", None, index, mark)]
            case "tool_use":
                return self._read_tool_call(index, block)
        return []

    def delta(self, index: int, delta: dict[str, Any]) -> list[StreamEvent]:
        """Read a piece of a block; unknown types are ignored."""
        match delta.get("type"):
            case "text_delta":
                text = _get_string(delta, "text")
                self._append_piece(index, text)
                return [TextDelta(text)] if text else []
            case "input_json_delta":
                return self._read_arguments(index, _get_string(delta, "partial_json"))
            case "thinking_delta":
                text = _get_string(delta, "thinking")
                self._append_piece(index, text)
                return self._thinking_delta(index, text, "")
            case "signature_delta":
                signature = _get_string(delta, "signature")
                self._get_block(index)["signature"] = signature
                return self._thinking_delta(index, "", signature)
            case "citations_delta":
                return self._add_citations(index, [delta.get("citation")])
            case "compaction_delta":
                self._get_block(index).update({name: value for name, value in delta.items() if name != "type"})
        return []

    def change(self, delta: Mapping[str, Any]) -> list[StreamEvent]:
        """Read the stop reason and the metadata fields."""
        reason = delta.get("stop_reason")
        if isinstance(reason, str) and reason:
            self.stop_reason = reason
        notes = {
            name: value for name in _METADATA_FIELDS if (value := delta.get(name)) and value != {"applied_edits": []}
        }
        return [MessageMetadata(notes)] if notes else []

    def count(self, usage: Any) -> list[StreamEvent]:
        """Read token counts; later values replace earlier ones, missing fields keep theirs."""
        if not isinstance(usage, dict):
            return []
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        counts = parse_usage(self._usage)
        return [UsageReport(counts)] if counts else []

    def finish(self) -> list[StreamEvent]:
        """Return the final events. Blocks of the provider's own tools are kept whole so that they can be sent back."""
        reason = _FINISH_REASONS.get(self.stop_reason, "other") if self.stop_reason else "stop"
        if reason == "stop" and self._has_tool_call:
            reason = "tool_calls"
        elif reason == "tool_calls" and self._has_schema_answer and not self._has_tool_call:
            reason = "stop"
        whole = self._complete_blocks()
        others = any(block["type"] not in _PORTABLE_BLOCKS for block in whole)
        content: list[StreamEvent] = [MessageMetadata({CONTENT_KEY: whole})] if others else []
        return [*content, Finish(reason, self.stop_reason)]

    def _thinking_delta(self, index: int, text: str, signature: str) -> list[StreamEvent]:
        return [ThinkingDelta(text, signature or None, index, _ORIGIN_METADATA)] if text or signature else []

    def _read_tool_call(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        given = block.get("input")
        arguments = dumps(given) if given else ""
        if block.get("name") == SCHEMA_TOOL:
            self._has_schema_answer = True
            return [TextDelta(arguments)] if arguments else []
        self._has_tool_call = True
        return [ToolCallDelta(index, _get_string(block, "id"), _get_string(block, "name"), arguments)]

    def _read_arguments(self, index: int, piece: str) -> list[StreamEvent]:
        self._append_piece(index, piece)
        block = self._get_block(index)
        if not piece or block.get("type") != "tool_use":
            return []
        if block.get("name") == SCHEMA_TOOL:
            return [TextDelta(piece)]
        return [ToolCallDelta(index, arguments=piece)]

    def _add_citations(self, index: int, citations: Any) -> list[StreamEvent]:
        given = citations if isinstance(citations, list) else []
        found = [citation for citation in given if isinstance(citation, dict)]
        if not found:
            return []
        if (block := self._get_block(index)).get("citations") is not citations:
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), *found]
        self._citations = [*self._citations, *found]
        return [MessageMetadata({"citations": self._citations})]

    def _get_block(self, index: int) -> dict[str, Any]:
        return self._blocks.setdefault(index, {})

    def _append_piece(self, index: int, piece: str) -> None:
        self._pieces.setdefault(index, []).append(piece)

    def _complete_blocks(self) -> list[dict[str, Any]]:
        """Return the blocks that have a type."""
        return [
            block | self._join_pieces(index, block)
            for index, block in self._blocks.items()
            if isinstance(block.get("type"), str)
        ]

    def _join_pieces(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        """Return the joined pieces of a block under the name of its field."""
        joined = "".join(self._pieces.get(index, ()))
        kind = str(block.get("type"))
        if not joined:
            return {}
        if kind in ("text", "thinking"):
            return {kind: _get_string(block, kind) + joined}
        try:
            return {"input": json.loads(joined)}
        except (ValueError, RecursionError):
            return {}


def _get_string(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a stream; ``Finish`` only if ``message_stop`` arrived. Raises the error of an error event.

    Unknown event types are ignored, as the API requires of its clients.
    """
    reader = AnthropicEventReader()
    for event in events:
        chunk = parse_object(event.data)
        if chunk is None:
            if event.data.strip():
                yield Unreadable(f'not a JSON object: "{format_excerpt(event.data)}"')
            continue
        kind = chunk.get("type")
        if kind == "content_block_delta":
            yield from reader.delta(_block_index(chunk), _get_dict(chunk, "delta"))
        elif kind == "content_block_start":
            yield from reader.block(_block_index(chunk), _get_dict(chunk, "content_block"))
        elif kind == "message_start":
            yield from reader.start(_get_dict(chunk, "message"))
        elif kind == "message_delta":
            yield from reader.change(_get_dict(chunk, "delta"))
            yield from reader.change(chunk)
            yield from reader.count(chunk.get("usage"))
        elif kind == "error" or event.event == "error":
            raise parse_embedded_error(chunk)
        elif kind == "message_stop":
            yield from reader.finish()
            return


def _block_index(chunk: dict[str, Any]) -> int:
    index = chunk.get("index")
    return index if isinstance(index, int) else 0


def _get_dict(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    value = chunk.get(name)
    return value if isinstance(value, dict) else {}


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response.

    Raises (while iterating) the error in a 200 response; an :class:`UnavailableError` with the reason ``not_json``
    for a page or a truncated body, ``no_answer`` for JSON without an answer.
    """
    answer = parse_body(body)
    if answer.get("type") == "error" or answer.get("error"):
        raise parse_embedded_error(answer)
    reader = AnthropicEventReader()
    yield from reader.start(answer)
    content = answer.get("content")
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, dict):
            yield from reader.block(index, block)
    yield from reader.change(answer)
    if not reader.has_content and reader.stop_reason is None:
        raise UnavailableError("the response has no content", reason="no_answer", status_code=200)
    yield from reader.finish()


#: Type of the model's own run in ``iterations``; other runs (compaction, an adviser) are not part of the totals.
_MAIN_RUN = "message"


def parse_usage(data: Mapping[str, Any]) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    Extra runs (``compaction``, ``advisor_message``) are billed too, so they are added.
    """
    if data.get("input_tokens") is None and data.get("output_tokens") is None:
        return None
    runs = [data, *_extra_runs(data)]
    cached = sum(parse_count(run, "cache_read_input_tokens") for run in runs)
    written = sum(_cache_write_tokens(run) for run in runs)
    output_tokens = sum(parse_count(run, "output_tokens") for run in runs)
    thinking = parse_count(get_object(data, "output_tokens_details"), "thinking_tokens")
    return Usage(
        input_tokens=sum(parse_count(run, "input_tokens") for run in runs) + cached + written,
        output_tokens=output_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        thinking_tokens=min(thinking, output_tokens),
        details=_parse_details(data, runs, written),
    )


def _parse_details(data: Mapping[str, Any], runs: list[Mapping[str, Any]], written: int) -> dict[str, float]:
    """Return the units with their own price: tokens cached for an hour cost more, searches are billed separately."""
    found = {
        "cache_write_1h_tokens": min(sum(_cache_tokens_for(run, "1h") for run in runs), written),
        "web_searches": parse_count(get_object(data, "server_tool_use"), "web_search_requests"),
    }
    return {name: float(count) for name, count in found.items() if count}


def _extra_runs(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    iterations = data.get("iterations")
    runs = iterations if isinstance(iterations, list) else []
    return [run for run in runs if isinstance(run, dict) and run.get("type") != _MAIN_RUN]


def _cache_write_tokens(run: Mapping[str, Any]) -> int:
    """Return the tokens written to the cache, from their total or from the split by lifetime."""
    return parse_count(run, "cache_creation_input_tokens") or _cache_tokens_for(run, "5m") + _cache_tokens_for(
        run, "1h"
    )


def _cache_tokens_for(run: Mapping[str, Any], lifetime: str) -> int:
    return parse_count(get_object(run, "cache_creation"), f"ephemeral_{lifetime}_input_tokens")
