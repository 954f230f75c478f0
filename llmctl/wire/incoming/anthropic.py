"""Read requests of Messages: https://platform.claude.com/docs/en/api/messages/create."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, Message, Part, Text, ToolResult, ToolSpec
from llmctl.wire.incoming import (
    Json,
    Operation,
    as_list,
    parts_of,
    read_answer,
    read_base64,
    read_texts,
    read_url,
    tool_spec,
    without,
)

_FIELDS = ("model", "messages", "system", "stream", "tools", "metadata")


def read_request(operation: Operation, body: Json) -> ChatRequest:
    """Return the request. A turn of the user becomes a message for each tool result, and one for the rest."""
    functions, hosted = _split_tools(as_list(body.get("tools")))
    system = read_texts(body.get("system"))
    first = (Message.from_text("system", system),) if system else ()
    return ChatRequest(
        model=str(body.get("model") or ""),
        messages=(*first, *_read_turns(as_list(body["messages"]))),
        stream=bool(body.get("stream")),
        options=without(body, *_FIELDS) | ({"tools": hosted} if hosted else {}),
        tools=functions,
    )


def _split_tools(tools: list[Any]) -> tuple[tuple[ToolSpec, ...], list[Any]]:
    own = [tool for tool in tools if "input_schema" in tool]
    specs = tuple(tool_spec(tool.get("name"), tool.get("description"), tool["input_schema"]) for tool in own)
    return specs, [tool for tool in tools if "input_schema" not in tool]


def _read_turns(turns: list[Any]) -> Iterator[Message]:
    names: dict[str, str] = {}
    for turn in turns:
        content = turn.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else as_list(content)
        if turn["role"] == "assistant":
            answer = _read_answer(blocks)
            names |= {call.id: call.name for call in answer.tool_calls}
            yield answer
        elif turn["role"] == "system":
            yield Message.from_text("system", read_texts(blocks))
        else:
            yield from _read_user(blocks, names)


def _read_answer(blocks: list[Any]) -> Message:
    cached = [without(block, "cache_control") for block in blocks]
    return read_answer(
        "anthropic", {"type": "message", "role": "assistant", "content": cached, "stop_reason": "end_turn"}
    )


def _read_user(blocks: list[Any], names: Mapping[str, str]) -> Iterator[Message]:
    for block in blocks:
        if block.get("type") == "tool_result":
            yield Message("tool", tuple(_read_result(block, names)))
    rest = parts_of(*(_read_block(block) for block in blocks if block.get("type") != "tool_result"))
    if rest:
        yield Message("user", rest)


def _read_result(block: Json, names: Mapping[str, str]) -> Iterator[Part]:
    call_id, content = str(block.get("tool_use_id")), block.get("content")
    yield ToolResult(call_id, names.get(call_id, ""), read_texts(content), bool(block.get("is_error")))
    for inner in as_list(content):
        if inner.get("type") != "text":
            yield from parts_of(_read_block(inner))


def _read_block(block: Json) -> Part | None:
    match block.get("type"):
        case "text":
            return Text(str(block.get("text") or ""))
        case "image" | "document" as kind:
            return _read_source(block.get("source") or {}, block.get("title"), f"{kind}/*")
        case "search_result":
            return Text(f"{block.get('title')}\n{block.get('source')}\n{read_texts(block.get('content'))}")
    return None


def _read_source(source: Json, name: Any, default: str) -> Part | None:
    match source.get("type"):
        case "base64":
            return read_base64(source.get("data"), name, source.get("media_type"))
        case "url":
            return read_url(source.get("url"), name, "application/pdf" if default == "document/*" else default)
        case "text" | "content":
            return Text(str(source.get("data") or read_texts(source.get("content"))))
    return None
