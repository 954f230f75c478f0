"""Read requests of Ollama's own API: https://docs.ollama.com/api/chat, https://docs.ollama.com/api/generate."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.chat import ChatRequest, Message, Text, ToolCall, ToolResult
from llmctl.wire.incoming import Json, Operation, as_list, parts_of, read_answer, read_base64, tool_spec, without

_FIELDS = ("model", "messages", "prompt", "system", "images", "suffix", "stream", "tools", "keep_alive", "options")


def read_request(operation: Operation, body: Json) -> ChatRequest:
    """Return the request; a prompt of ``/api/generate`` is a user message. Ollama streams unless told not to."""
    functions = [tool["function"] for tool in as_list(body.get("tools"))]
    return ChatRequest(
        model=str(body.get("model") or ""),
        messages=tuple(_read_messages(body)),
        stream=body.get("stream") is not False,
        options={**without(body, *_FIELDS), **(body.get("options") or {})},
        tools=tuple(tool_spec(one.get("name"), one.get("description"), one.get("parameters")) for one in functions),
    )


def _read_messages(body: Json) -> Iterator[Message]:
    if "messages" not in body:
        if body.get("system"):
            yield Message.from_text("system", str(body["system"]))
        yield _read_user({"content": body.get("prompt"), "images": body.get("images")})
        return
    calls: list[ToolCall] = []
    for message in as_list(body["messages"]):
        match message["role"]:
            case "system":
                yield Message.from_text("system", str(message.get("content") or ""))
            case "assistant":
                answer = read_answer("ollama", {"message": message, "done": True, "done_reason": "stop"})
                calls = list(answer.tool_calls)
                yield answer
            case "tool":
                yield _read_result(message, calls)
            case _:
                yield _read_user(message)


def _read_user(message: Json) -> Message:
    files = (read_base64(image) for image in as_list(message.get("images")))
    return Message("user", parts_of(*files, Text(str(message.get("content") or ""))))


def _read_result(message: Json, calls: list[ToolCall]) -> Message:
    """Return a result, which names its tool but no call: the first open call of that name, else the first."""
    name = str(message.get("tool_name") or message.get("name") or "")
    call = next((one for one in calls if one.name == name), calls[0] if calls else None)
    if call:
        calls.remove(call)
    call_id = str(message.get("tool_call_id") or (call.id if call else ""))
    return Message(
        "tool", (ToolResult(call_id, name or (call.name if call else ""), str(message.get("content") or "")),)
    )
