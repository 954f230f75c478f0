"""Read OpenAI's chat messages: JSON Lines of ``{"messages": [...]}``, as fine-tuning and batch tools take them.

https://platform.openai.com/docs/guides/supervised-fine-tuning
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.chat import File, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkipCounter, SkippedItems
from llmctl.core.stored_values import dumps
from llmctl.formats.imports import Format
from llmctl.formats.message_links import OpenCalls

SOURCE = "openai"
_ROLES = {
    **{"system": "system", "developer": "system", "user": "user", "assistant": "assistant"},
    **{"tool": "tool", "function": "tool"},
}
#: Keys under which hosts give the reasoning of an answer.
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXT_TYPES = ("text", "input_text", "output_text", "refusal")


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    messages = item.get("messages") if isinstance(item, dict) else None
    return isinstance(messages, list) and any(map(_is_message, messages))


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the conversation. It has no name or time; its id is derived from the messages."""
    skipped, calls = SkipCounter(), OpenCalls()
    digest = sha256(dumps(item["messages"]).encode("utf-8", "surrogatepass")).hexdigest()
    model = _text_of(item.get("model"))
    entries = []
    for index, message in enumerate(item["messages"]):
        if not _is_message(message):
            skipped.add_message()
            continue
        role, parts = _ROLES[message["role"]], _read_message(message, index, calls, skipped)
        used = model if role == "assistant" else None
        entries.append(ImportedMessage(role, parts, f"{digest}#{index}", model=used))  # type: ignore[arg-type]
    metadata = item.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    yield ImportedConversation(SOURCE, digest, entries, model=model, metadata=metadata)
    yield from skipped.items()


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and message["role"] in _ROLES


def _read_message(message: Mapping[str, Any], index: int, calls: OpenCalls, skipped: SkipCounter) -> tuple[Part, ...]:
    if _ROLES[message["role"]] == "tool":
        name = _text_of(message.get("name")) or ""
        call_id = calls.answer(_text_of(message.get("tool_call_id")), name)
        return (ToolResult(call_id, name, _read_result(message.get("content"))),)
    thinking = next((text for name in _REASONING if (text := _text_of(message.get(name)))), None)
    content = message.get("content") or message.get("refusal")
    return (
        *((Thinking(thinking),) if thinking else ()),
        *_read_blocks(content, skipped),
        *_read_calls(message, index, calls, skipped),
    )


def _read_blocks(content: Any, skipped: SkipCounter) -> Iterator[Part]:
    if isinstance(content, str | dict):
        content = [content]
    for block in content if isinstance(content, list) else ():
        found = _read_block(block)
        if found is None:
            kind = block.get("type") if isinstance(block, dict) else type(block).__name__
            if kind not in _TEXT_TYPES:
                skipped.add_block(kind)
        else:
            yield found


def _read_block(block: Any) -> Part | None:
    """Return the part of a block; None if it holds nothing that can be read."""
    if isinstance(block, str):
        return Text(block) if block else None
    if not isinstance(block, dict):
        return None
    kind = str(block.get("type"))
    for name in ("image_url", "input_audio", "file", "input_file"):
        if name in block or kind == name:
            inner = block.get(name, block)
            return _read_file(inner if isinstance(inner, dict) else {"url": inner}, kind)
    if kind in ("thinking", "reasoning") and (text := _text_of(block.get("thinking")) or _text_of(block.get("text"))):
        return Thinking(text)
    text = _text_of(block.get("text")) or _text_of(block.get("refusal")) or _text_of(block.get("content"))
    return Text(text) if text else None


def _read_file(values: Mapping[str, Any], kind: str) -> File | None:
    """Return the file of a block: a URL, a data URL, or base64."""
    name = _text_of(values.get("filename"))
    if (data := _text_of(values.get("data"))) is not None:
        return _decode(f"audio/{_text_of(values.get('format')) or 'wav'}", data, name)
    url = _text_of(values.get("url")) or _text_of(values.get("image_url")) or _text_of(values.get("file_data"))
    if url is None:
        return None
    if not url.startswith("data:"):
        return File("image/*" if "image" in kind else "application/octet-stream", url=url, name=name)
    media_type, _, data = url[5:].partition(";base64,")
    return _decode(media_type or "image/*", data, name)


def _decode(media_type: str, data: str, name: str | None) -> File | None:
    try:
        return File(media_type, b64decode(data, validate=True), name=name)
    except ValueError:
        return None


def _read_calls(message: Mapping[str, Any], index: int, calls: OpenCalls, skipped: SkipCounter) -> Iterator[ToolCall]:
    found = message.get("tool_calls")
    listed = [call for call in found if isinstance(call, dict)] if isinstance(found, list) else []
    if isinstance(message.get("function_call"), dict):
        listed.append({"function": message["function_call"]})
    for number, call in enumerate(listed):
        function = call.get("function") or call.get("custom") or call
        name = _text_of(function.get("name")) if isinstance(function, dict) else None
        if name is None:
            skipped.add_block("tool_calls")
            continue
        arguments = function.get("arguments", function.get("input"))
        id = calls.add(_text_of(call.get("id")), name, f"call_{index}_{number}")
        yield ToolCall(id, name, arguments if isinstance(arguments, str) else dumps(arguments or {}))


def _read_result(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(one.get("text") or "") if isinstance(one, dict) else str(one) for one in content)
    if isinstance(content, dict):
        return dumps(content)
    return "" if content is None else str(content)


FORMAT = Format(is_conversation, read_conversation)
