"""Read requests of Generate Content: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from llmctl.core.chat import ChatRequest, Message, Part, Text, ToolCall, ToolResult, ToolSpec
from llmctl.core.stored_values import dumps
from llmctl.wire.incoming import (
    Json,
    Operation,
    as_list,
    parts_of,
    read_answer,
    read_base64,
    read_url,
    tool_spec,
    without,
)

_FIELDS = ("contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config")


def read_request(operation: Operation, body: Json) -> ChatRequest:
    """Return the request; its model is in the path, and whether it streams, too."""
    functions, hosted = _split_tools(as_list(body.get("tools")))
    system = _read_system(body.get("systemInstruction") or body.get("system_instruction"))
    config = body.get("generationConfig") or body.get("generation_config") or {}
    return ChatRequest(
        model=(operation.model or "").removeprefix("models/"),
        messages=(*system, *_read_contents(body["contents"])),
        options={**without(body, *_FIELDS), **config} | ({"tools": hosted} if hosted else {}),
        tools=functions,
    )


def _read_system(instruction: Any) -> tuple[Message, ...]:
    if isinstance(instruction, str):
        return (Message.from_text("system", instruction),) if instruction else ()
    parts = as_list(instruction.get("parts")) if isinstance(instruction, Mapping) else []
    texts = [str(part["text"]) for part in parts if part.get("text")]
    return (Message.from_text("system", "\n\n".join(texts)),) if texts else ()


def _split_tools(tools: list[Any]) -> tuple[tuple[ToolSpec, ...], list[Any]]:
    functions: list[ToolSpec] = []
    hosted: list[Any] = []
    for tool in tools:
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        if declared is None:
            hosted.append(tool)
        for one in as_list(declared):
            schema = one.get("parametersJsonSchema") or one.get("parameters_json_schema") or one.get("parameters")
            functions.append(tool_spec(one.get("name"), one.get("description"), schema))
    return tuple(functions), hosted


def _read_contents(contents: Any) -> Iterator[Message]:
    calls: list[ToolCall] = []
    listed = contents if isinstance(contents, list) else [contents]
    for content in listed:
        parts = as_list(content.get("parts"))
        if content.get("role") == "model":
            answer = _read_answer(parts)
            calls = list(answer.tool_calls)
            yield answer
        else:
            yield from _read_user(parts, calls)


def _read_answer(parts: list[Any]) -> Message:
    content = {"role": "model", "parts": parts}
    return read_answer("gemini", {"candidates": [{"content": content, "finishReason": "STOP"}]})


def _read_user(parts: list[Any], calls: list[ToolCall]) -> Iterator[Message]:
    for is_result, group in groupby(parts, key=lambda part: _find(part, "functionResponse") is not None):
        if is_result:
            yield from (Message("tool", tuple(_read_result(_find(part, "functionResponse"), calls))) for part in group)
        elif found := parts_of(*map(_read_part, group)):
            yield Message("user", found)


def _read_result(response: Any, calls: list[ToolCall]) -> Iterator[Part]:
    """Yield the result of a call: the first open one of its id, else of its name. Google often sends no id."""
    name = str(response.get("name") or "")
    fitting = [call for call in calls if response.get("id") in (call.id, call.metadata.get("gemini_id"))]
    fitting = fitting or [call for call in calls if call.name == name]
    if fitting:
        calls.remove(fitting[0])
    payload = response.get("response") or {}
    is_error = set(payload) == {"error"}
    value = payload.get("error" if is_error else "output", payload)
    text = value if isinstance(value, str) else dumps(value)
    yield ToolResult(fitting[0].id if fitting else str(response.get("id") or ""), name, text, is_error)
    yield from parts_of(*map(_read_part, as_list(response.get("parts"))))


def _read_part(part: Json) -> Part | None:
    if inline := _find(part, "inlineData"):
        name = inline.get("displayName")
        return read_base64(inline.get("data"), name, inline.get("mimeType") or inline.get("mime_type"))
    if stored := _find(part, "fileData"):
        media_type = stored.get("mimeType") or stored.get("mime_type")
        return read_url(stored.get("fileUri") or stored.get("file_uri"), None, media_type or "application/octet-stream")
    return Text(str(part["text"])) if part.get("text") and not part.get("thought") else None


def _find(part: Json, name: str) -> Any:
    """Return a field, which programs write as ``inlineData`` or ``inline_data``."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return part.get(name, part.get(snake))
