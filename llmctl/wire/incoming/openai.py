"""Read requests of Chat Completions, of the older Completions, and of Responses.

https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, Message, Part, Text, ToolResult, ToolSpec
from llmctl.core.stored_values import dumps
from llmctl.wire.incoming import (
    Json,
    Operation,
    as_list,
    as_text,
    parts_of,
    read_answer,
    read_base64,
    read_texts,
    read_url,
    tool_spec,
    without,
)

_SYSTEM_ROLES = ("system", "developer")


def read_chat_request(operation: Operation, body: Json) -> ChatRequest:
    """Return a request of Chat Completions; the prompt of Completions is a user message."""
    functions, hosted = _split_tools(as_list(body.get("tools")))
    options = without(body, "model", "messages", "prompt", "stream", "stream_options", "tools")
    return ChatRequest(
        model=str(body.get("model") or ""),
        messages=tuple(_read_messages(body)),
        stream=bool(body.get("stream")),
        options=options | ({"tools": hosted} if hosted else {}),
        tools=functions,
    )


def _split_tools(tools: list[Any]) -> tuple[tuple[ToolSpec, ...], list[Any]]:
    """Return the functions that the caller runs, and the tools that the provider runs."""
    functions, hosted = [], []
    for tool in tools:
        definition = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if isinstance(definition, Mapping) and tool.get("type", "function") == "function" and "name" in definition:
            functions.append(tool_spec(definition["name"], definition.get("description"), definition.get("parameters")))
        else:
            hosted.append(tool)
    return tuple(functions), hosted


def _read_messages(body: Json) -> Iterator[Message]:
    if "messages" not in body:
        yield from (Message.from_text("user", text) for text in _list_prompts(body.get("prompt")))
        return
    names: dict[str, str] = {}
    for message in as_list(body["messages"]):
        role = message["role"]
        if role in _SYSTEM_ROLES:
            yield Message.from_text("system", read_texts(message.get("content")))
        elif role == "assistant":
            answer = _read_answer(message)
            names |= {call.id: call.name for call in answer.tool_calls}
            yield answer
        elif role in ("tool", "function"):
            call_id = str(message.get("tool_call_id") or message.get("name") or "")
            name = names.get(call_id) or str(message.get("name") or "")
            yield Message("tool", (ToolResult(call_id, name, _read_output(message.get("content"))),))
        else:
            yield Message("user", tuple(_read_content(message.get("content"))))


def _list_prompts(prompt: Any) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [one for one in as_list(prompt) if isinstance(one, str)]


def _read_answer(message: Json) -> Message:
    if isinstance(message.get("content"), list) and all(block.get("type") == "text" for block in message["content"]):
        message = {**message, "content": read_texts(message["content"])}
    return read_answer("openai-chat", {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def _read_content(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield from parts_of(Text(content))
    for block in as_list(content):
        yield from parts_of(Text(block) if isinstance(block, str) else _read_block(block))


def _read_block(block: Json) -> Part | None:
    kind = block.get("type")
    value = block.get(str(kind), block)
    value = value if isinstance(value, Mapping) else {"url": value}
    match kind:
        case "text" | "input_text" | "output_text" | "refusal":
            return Text(str(block.get("text") or block.get("refusal") or ""))
        case "input_audio":
            return read_base64(value.get("data"), None, f"audio/{value.get('format') or 'wav'}")
        case "image_url" | "video_url" | "document_url" | "file_url" | "input_image":
            default = {"video_url": "video/mp4", "document_url": "application/pdf"}.get(str(kind), "image/*")
            return read_url(value.get("url") or value.get("image_url"), None, default)
        case "file" | "input_file":
            where = value.get("file_data") or value.get("file_url")
            return read_url(where, value.get("filename"), "application/pdf")
    return None


def _read_output(output: Any) -> str:
    """Return the result of a tool as text."""
    if isinstance(output, list) and any(isinstance(block, Mapping) and "text" in block for block in output):
        return read_texts(output)
    return output if isinstance(output, str) else "" if output is None else dumps(output)


_RESPONSES_FIELDS = ("model", "input", "instructions", "stream", "tools", "store", "include")
_CALLS = ("function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_call")


def read_responses_request(operation: Operation, body: Json) -> ChatRequest:
    """Return a request of Responses; what it continues by ``previous_response_id`` is not in it."""
    functions, hosted = _split_tools(as_list(body.get("tools")))
    instructions = as_text(body.get("instructions"))
    system = (Message.from_text("system", instructions),) if instructions else ()
    options = without(body, *_RESPONSES_FIELDS)
    return ChatRequest(
        model=str(body.get("model") or ""),
        messages=(*system, *_read_input(body.get("input"))),
        stream=bool(body.get("stream")),
        options=options | ({"tools": hosted} if hosted else {}),
        tools=functions,
    )


def _read_input(input: Any) -> Iterator[Message]:
    """Yield the messages of the items; items of the model in a row are one answer."""
    if isinstance(input, str):
        yield Message.from_text("user", input)
    names: dict[str, str] = {}
    answer: list[Json] = []
    for item in as_list(input):
        kind = item.get("type", "message")
        if _is_of_model(item, str(kind)):
            answer.append(_as_output(item))
            names[str(item.get("call_id"))] = str(item.get("name") or kind)
            continue
        if answer:
            yield _read_items(answer)
            answer = []
        if str(kind).endswith("_output"):
            call_id = str(item.get("call_id") or "")
            yield Message("tool", (ToolResult(call_id, names.get(call_id, ""), _read_output(item.get("output"))),))
        elif kind == "message" and item.get("role") in _SYSTEM_ROLES:
            yield Message.from_text("system", read_texts(item.get("content")))
        elif kind == "message":
            yield Message("user", tuple(_read_content(item.get("content"))))
    if answer:
        yield _read_items(answer)


def _is_of_model(item: Json, kind: str) -> bool:
    return item.get("role") == "assistant" or kind == "reasoning" or (kind.endswith("_call") and kind in _CALLS)


def _as_output(item: Json) -> Json:
    """Return an item of the input as the output that it was: a message may be given as a bare text."""
    if item.get("type") == "custom_tool_call":
        return {**item, "type": "function_call", "arguments": dumps({"input": item.get("input")})}
    if str(item.get("type", "message")).endswith("_call") and item["type"] not in ("function_call", "mcp_call"):
        action = item.get("action", item.get("operation"))
        return {**item, "type": "function_call", "name": item["type"], "arguments": dumps(action or {})}
    if isinstance(item.get("content"), str):
        text = {"type": "output_text", "text": item["content"], "annotations": []}
        return {**item, "type": "message", "content": [text]}
    return {"type": "message", **item}


def _read_items(items: list[Json]) -> Message:
    return read_answer("openai-responses", {"status": "completed", "output": items})
