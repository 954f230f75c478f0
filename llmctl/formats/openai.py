"""OpenAI's chat messages: JSON Lines of ``{"messages": [...]}``, as fine-tuning and batch tools take them.

https://platform.openai.com/docs/guides/supervised-fine-tuning
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.chat import File, Part, Text, ToolCall, ToolResult
from llmctl.core.exported_conversation import ExportedMessage, ExportedToolCall
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkippedItems
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, sendable_messages, tool_results
from llmctl.formats.imports import Format

SOURCE = "openai"
_ROLES = {
    **{"system": "system", "developer": "system", "user": "user", "assistant": "assistant"},
    **{"tool": "tool", "function": "tool"},
}


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has messages."""
    for conversation in map(Conversation.to_exported, found):
        sendable = list(sendable_messages(conversation.messages))
        messages = [one for message in _drop_open_calls(sendable) for one in _to_openai_messages(message)]
        if messages:
            yield dumps({"messages": messages}) + "\n"


def _drop_open_calls(messages: list[ExportedMessage]) -> Iterator[ExportedMessage]:
    """Yield the messages without unanswered tool calls, which the API refuses."""
    answered = {result.call_id for message in messages if message.role == "tool" for result in tool_results(message)}
    for message in messages:
        calls = [call for call in message.tool_calls if call.id in answered]
        if message.content or calls or message.role == "tool":
            yield message._replace(tool_calls=calls)


def _to_openai_messages(message: ExportedMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for result in tool_results(message):
            yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
        return
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [_to_openai_call(call) for call in message.tool_calls]
    yield found


def _to_openai_call(call: ExportedToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    messages = item.get("messages") if isinstance(item, dict) else None
    return isinstance(messages, list) and bool(messages) and all(map(_is_message, messages))


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the conversation. It has no name or time; its id is derived from the messages."""
    messages = item["messages"]
    digest = sha256(dumps(messages).encode("utf-8", "surrogatepass")).hexdigest()
    entries = [_read_message(message, f"{digest}#{index}", item.get("model")) for index, message in enumerate(messages)]
    yield ImportedConversation(SOURCE, digest, entries, model=item.get("model"), metadata=item.get("metadata") or {})


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _ROLES


def _read_message(message: Mapping[str, Any], id: str, model: str | None) -> ImportedMessage:
    role = _ROLES[message["role"]]
    if role == "tool":
        name = str(message.get("name") or "")
        call = str(message.get("tool_call_id") or name)
        parts: tuple[Part, ...] = (ToolResult(call, name, _read_text(message.get("content"))),)
    else:
        parts = (*_read_parts(message.get("content")), *_read_calls(message))
    return ImportedMessage(role, parts, id, model=model if role == "assistant" else None)  # type: ignore[arg-type]


def _read_parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str) and content:
        yield Text(content)
    for one in content if isinstance(content, list) else ():
        if one.get("type") == "image_url":
            yield _read_image(one["image_url"]["url"])
        else:
            yield Text(str(one.get("text") or one.get("refusal") or f"[{one.get('type')}]"))


def _read_image(url: str) -> File:
    if not url.startswith("data:"):
        return File("image/*", url=url)
    media_type, _, data = url[5:].partition(";base64,")
    return File(media_type or "image/*", b64decode(data))


def _read_calls(message: Mapping[str, Any]) -> Iterator[Part]:
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments", function.get("input", ""))
        yield ToolCall(str(call["id"]), function["name"], arguments if isinstance(arguments, str) else dumps(arguments))
    if call := message.get("function_call"):
        yield ToolCall(call["name"], call["name"], call["arguments"])


def _read_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(one.get("text", "")) for one in content)
    return "" if content is None else str(content)


FORMAT = Format(is_conversation, read_conversation)
