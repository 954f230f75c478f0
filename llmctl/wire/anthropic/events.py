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
from llmctl.wire.anthropic.request import CONTENT_KEY, ORIGIN, SCHEMA_TOOL
from llmctl.wire.responses import (
    EventObjects,
    bare_error,
    find_unknown_side,
    get_object,
    merge_usage,
    parse_body,
    parse_count,
    parse_finish_reason,
    parse_number,
    parse_service_tier,
)
from llmctl.wire.responses import parse_usage as parse_counts
from llmctl.wire.tool_calls import CallArguments, encode_arguments

# Errors are rare: their module is imported for the first one.
parse_embedded_error: Callable[[Mapping[str, Any]], LlmctlError] = LazyFunction(
    "llmctl.wire.anthropic.errors:parse_embedded_error"
)

_ORIGIN_METADATA = {"wire": ORIGIN}
_PORTABLE_BLOCKS = {"text", "tool_use", "thinking", "redacted_thinking"}
#: The types of blocks that a piece can belong to; other pieces fit any.
_PIECES = {
    "text_delta": ("text",),
    "thinking_delta": ("thinking",),
    "signature_delta": ("thinking",),
    "input_json_delta": ("tool_use", "server_tool_use", "mcp_tool_use"),
}
#: Fields outside the blocks that are kept as metadata if set.
_METADATA_FIELDS = ("stop_sequence", "stop_details", "container", "context_management", "input_transformations")


class AnthropicEventReader:
    """The state of one response. Whole blocks are collected too: what parts cannot represent is sent back unchanged."""

    def __init__(self) -> None:
        #: The blocks by our number, which is the host's index unless it uses one twice.
        self._blocks: dict[int, dict[str, Any]] = {}
        #: The block that an index stands for, and the indexes whose block was stopped.
        self._numbers: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._pieces: dict[int, list[str]] = {}
        self._inputs: dict[int, CallArguments] = {}
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

    def block(self, place: int | None, block: dict[str, Any]) -> list[StreamEvent]:
        """Read a block or the start of one."""
        index = self._begin_block(place, block)
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

    def delta(self, place: int | None, delta: dict[str, Any]) -> list[StreamEvent]:
        """Read a piece of a block; unknown types are ignored."""
        index = self._find_block(place, delta.get("type"))
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

    def stop(self, place: int | None) -> list[StreamEvent]:
        """Read the end of a block: an input that no piece repeated is the answer to a schema."""
        index = self._find_block(place, None)
        self._stopped.add(index)
        given = self._blocks.get(index, {})
        if given.get("name") != SCHEMA_TOOL or index in self._inputs or not given.get("input"):
            return []
        arguments = self._inputs.setdefault(index, CallArguments())
        return [TextDelta(arguments.add(encode_arguments(given["input"]))[0])]

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
        """Read token counts; later values replace earlier ones, missing fields and zeros do not."""
        if not isinstance(usage, dict):
            return []
        if isinstance(usage.get("iterations"), list):  # a full report: zeros moved to the runs beside the answer
            self._usage |= {name: value for name, value in usage.items() if value is not None}
        else:
            self._usage = merge_usage(self._usage, usage)
        counts = parse_usage(self._usage)
        return [UsageReport(counts)] if counts else []

    def finish(self) -> list[StreamEvent]:
        """Return the final events. Blocks of the provider's own tools are kept whole so that they can be sent back."""
        reason = parse_finish_reason(self.stop_reason) if self.stop_reason else "stop"
        if reason == "stop" and self._has_tool_call:
            reason = "tool_calls"
        elif reason == "tool_calls" and self._has_schema_answer and not self._has_tool_call:
            reason = "stop"
        unstopped = [place for place, index in self._numbers.items() if index not in self._stopped]
        rest = [event for place in unstopped for event in self.stop(place)]
        whole = self._complete_blocks()
        others = any(block["type"] not in _PORTABLE_BLOCKS for block in whole)
        content: list[StreamEvent] = [MessageMetadata({CONTENT_KEY: whole})] if others else []
        return [*rest, *content, Finish(reason, self.stop_reason)]

    def _begin_block(self, place: int | None, block: dict[str, Any]) -> int:
        """Return the number of a block that starts: a new one, unless the start of an open block is repeated."""
        number = self._numbers.get(place, -1) if place is not None else -1
        known = self._blocks.get(number)
        is_repeated = known is not None and number not in self._stopped and known.get("id") == block.get("id")
        if is_repeated and known and known.get("type") == block.get("type") == "tool_use":
            return number
        free = place if place is not None and place not in self._blocks else max([-1, *self._blocks]) + 1
        self._numbers[free if place is None else place] = free
        return free

    def _find_block(self, place: int | None, kind: object) -> int:
        """Return the number of the block that a piece belongs to: that of its index, else the last that can have it."""
        number = self._numbers.get(place) if place is not None else None
        wanted = _PIECES.get(str(kind))
        if number is not None and (wanted is None or self._blocks[number].get("type") in wanted):
            return number
        fitting = [n for n, block in self._blocks.items() if wanted is None or block.get("type") in wanted]
        if fitting:
            return fitting[-1]
        return number if number is not None else place or 0

    def _thinking_delta(self, index: int, text: str, signature: str) -> list[StreamEvent]:
        return [ThinkingDelta(text, signature or None, index, _ORIGIN_METADATA)] if text or signature else []

    def _read_tool_call(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        if block.get("name") == SCHEMA_TOOL:
            self._has_schema_answer = True
            return []
        self._has_tool_call = True
        given = block.get("input")
        arguments = self._inputs.setdefault(index, CallArguments())
        piece, replaces = arguments.add(encode_arguments(given)) if given else ("", False)
        id, name = _get_string(block, "id"), _get_string(block, "name")
        return [ToolCallDelta(index, id, name, piece, replaces=replaces)]

    def _read_arguments(self, index: int, piece: str) -> list[StreamEvent]:
        block = self._get_block(index)
        if not piece or block.get("type") not in _PIECES["input_json_delta"]:
            return []
        text, replaces = self._inputs.setdefault(index, CallArguments()).add(piece)
        if not text or block.get("type") != "tool_use":
            return []
        if block.get("name") == SCHEMA_TOOL:
            return [TextDelta(piece)]
        return [ToolCallDelta(index, arguments=text, replaces=replaces)]

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
        if joined and kind in ("text", "thinking"):
            return {kind: _get_string(block, kind) + joined}
        arguments = self._inputs.get(index)
        try:
            return {"input": json.loads(arguments.text)} if arguments and arguments.text else {}
        except (ValueError, RecursionError):
            return {}


def _get_string(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a stream; ``Finish`` only if ``message_stop`` arrived. Raises the error of an error event.

    A compatible host may end with the stop reason alone, or with Chat Completions' ``[DONE]`` after it.

    Unknown event types are ignored, as the API requires of its clients.
    """
    reader = AnthropicEventReader()
    objects = EventObjects(_ignore_cut_after_stop(events, reader, dialect), parse_embedded_error)
    for chunk in objects:
        if isinstance(chunk, Unreadable):
            yield chunk
            continue
        kind = chunk.get("type")
        if kind == "content_block_delta":
            yield from reader.delta(_block_index(chunk), _get_dict(chunk, "delta"))
        elif kind == "content_block_start":
            yield from reader.block(_block_index(chunk), _get_dict(chunk, "content_block"))
        elif kind == "content_block_stop":
            yield from reader.stop(_block_index(chunk))
        elif kind == "message_start":
            yield from reader.start(_get_dict(chunk, "message"))
        elif kind == "message_delta":
            yield from reader.change(_get_dict(chunk, "delta"))
            yield from reader.change(chunk)
            yield from reader.count(chunk.get("usage"))
        elif error := _find_error(chunk):
            raise error
        elif kind == "message_stop":
            yield from reader.finish()
            return
    if reader.stop_reason and (objects.is_done or not dialect.done_marker):
        yield from reader.finish()
    else:
        yield from objects.explain_end()


def _find_error(chunk: dict[str, Any]) -> LlmctlError | None:
    if chunk.get("type") == "error" or chunk.get("error"):
        return parse_embedded_error(chunk)
    return bare_error(chunk) if "type" not in chunk else None


def _ignore_cut_after_stop(
    events: Iterable[ServerEvent], reader: AnthropicEventReader, dialect: Dialect
) -> Iterator[ServerEvent]:
    try:
        yield from events
    except UnavailableError:
        if dialect.done_marker or not reader.stop_reason:
            raise


def _block_index(chunk: dict[str, Any]) -> int | None:
    index = chunk.get("index")
    return index if isinstance(index, int) else None


def _get_dict(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    value = chunk.get(name)
    return value if isinstance(value, dict) else {}


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole response.

    Raises (while iterating) the error in a 200 response; an :class:`UnavailableError` with the reason ``not_json``
    for a page or a truncated body, ``no_answer`` for JSON without an answer.
    """
    answer = parse_body(body)
    if error := _find_error(answer):
        raise error
    reader = AnthropicEventReader()
    yield from reader.start(answer)
    content = answer.get("content")
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, dict):
            yield from reader.block(index, block)
            yield from reader.stop(index)
    yield from reader.change(answer)
    if not reader.has_content and reader.stop_reason is None:
        raise UnavailableError("the response has no content", reason="no_answer", status_code=200)
    yield from reader.finish()


#: Counts besides the input, which they are not part of.
_CACHE_COUNTS = ("cache_read_input_tokens", "cache_creation_input_tokens")
#: Type of the model's own run in ``iterations``; other runs (compaction, an adviser) are not part of the totals.
_MAIN_RUN = "message"


def parse_usage(data: Mapping[str, Any]) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    Extra runs (``compaction``, ``advisor_message``) are billed too, so they are added.
    """
    if not any(parse_number(data.get(name)) for name in ("input_tokens", "output_tokens", *_CACHE_COUNTS)):
        return parse_counts(data)
    runs = [data, *_extra_runs(data)]
    cached = sum(parse_count(run, "cache_read_input_tokens") for run in runs)
    written = sum(_cache_write_tokens(run) for run in runs)
    output_tokens = sum(parse_count(run, "output_tokens") for run in runs)
    thinking = parse_count(get_object(data, "output_tokens_details"), "thinking_tokens")
    input_tokens = sum(parse_count(run, "input_tokens") for run in runs) + cached + written
    says_output = data.get("output_tokens") is not None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        unknown=find_unknown_side(input_tokens, output_tokens, says_output=says_output),
        cached_tokens=cached,
        cache_write_tokens=written,
        thinking_tokens=min(thinking, output_tokens),
        details=_parse_details(data, runs, written),
        service_tier=parse_service_tier(data.get("service_tier")),
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
