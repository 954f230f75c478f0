"""OpenAI's chat messages, read: ``{"messages": [...]}``, a conversation a document.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.imported_conversation import Entry, History, Passed
from llmctl.core.messages import File, Part, Text, ToolCall, ToolResult
from llmctl.core.stored_json import dumps
from llmctl.formats.imports import Format

SOURCE = "openai"
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_ROLES |= {"function": "tool"}


def fits(item: Any) -> bool:
    """Tell whether a document is a conversation of this kind."""
    messages = item.get("messages") if isinstance(item, dict) else None
    return isinstance(messages, list) and bool(messages) and all(map(_is_message, messages))


def read(item: Mapping[str, Any]) -> Iterator[History | Passed]:
    """Yield the conversation. It has no name and no time; the same messages are the same conversation."""
    messages = item["messages"]
    digest = sha256(dumps(messages).encode("utf-8", "surrogatepass")).hexdigest()
    entries = [_entry(message, f"{digest}#{place}", item.get("model")) for place, message in enumerate(messages)]
    yield History(SOURCE, digest, entries, model=item.get("model"), metadata=item.get("metadata") or {})


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _ROLES


def _entry(message: Mapping[str, Any], id: str, model: str | None) -> Entry:
    role = _ROLES[message["role"]]
    if role == "tool":
        name = str(message.get("name") or "")
        call = str(message.get("tool_call_id") or name)
        parts: tuple[Part, ...] = (ToolResult(call, name, _text(message.get("content"))),)
    else:
        parts = (*_parts(message.get("content")), *_calls(message))
    return Entry(role, parts, id, model=model if role == "assistant" else None)  # type: ignore[arg-type]


def _parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str) and content:
        yield Text(content)
    for one in content if isinstance(content, list) else ():
        if one.get("type") == "image_url":
            yield _image(one["image_url"]["url"])
        else:
            yield Text(str(one.get("text") or one.get("refusal") or f"[{one.get('type')}]"))


def _image(url: str) -> File:
    if not url.startswith("data:"):
        return File("image/*", url=url)
    media_type, _, data = url[5:].partition(";base64,")
    return File(media_type or "image/*", b64decode(data))


def _calls(message: Mapping[str, Any]) -> Iterator[Part]:
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments", function.get("input", ""))
        yield ToolCall(str(call["id"]), function["name"], arguments if isinstance(arguments, str) else dumps(arguments))
    if call := message.get("function_call"):
        yield ToolCall(call["name"], call["name"], call["arguments"])


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(one.get("text", "")) for one in content)
    return "" if content is None else str(content)


FORMAT = Format(fits, read)
