"""A conversation as input items: messages, calls, results, and the reasoning right before what followed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.files import base64_of, inlined, is_text, kind_of, url_of_file
from llmctl.wire.openai_responses.provider_items import item_of
from llmctl.wire.tool_call_compat import fitting_id, fitting_name

#: Drawer of a text: commentary or final answer, which newer models want to be told again.
PHASE = "responses_phase"
#: Ids of calls: longer ones are refused.
_CALL_ID = r"(?s).{1,64}"

Item = dict[str, Any]


def instructions_of(messages: Iterable[Message]) -> str | None:
    """Return the system prompt where the conversation begins with one."""
    first = next(iter(messages), None)
    return first.text or None if first is not None and first.role == "system" else None


def encode_items(messages: Iterable[Message], dialect: Dialect) -> list[Item]:
    """Return the input items of all messages but a leading system prompt; no text of an assistant is empty.

    Files of tool results follow as a user message, after the last result of their turn.
    """
    items: list[Item] = []
    files: list[Item] = []
    for number, message in enumerate(messages):
        if message.role != "tool" and files:
            items.append({"role": "user", "content": files})
            files = []
        if message.role == "tool":
            items += [_result(part) for part in message.parts if isinstance(part, ToolResult)]
            files += [_file(part) for part in message.parts if isinstance(part, File)]
        elif message.role == "assistant":
            items += _answer(message)
        elif message.role != "system":
            items += _said("user", message)
        elif number:
            items += _said(dialect.system_role, message)
    return items + ([{"role": "user", "content": files}] if files else [])


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say whether a file can be sent: pictures and PDF, also by URL, and text."""
    kind, subtype = kind_of(media_type)
    return kind == "image" or subtype == "pdf" or (is_text(media_type) and not by_url)


def _said(role: str, message: Message) -> list[Item]:
    """Return a message of text and files; plain text where nothing else is there."""
    parts = [piece for part in message.parts if (piece := _piece(part))]
    if not parts:
        return []
    if all(part["type"] == "input_text" for part in parts):
        return [{"role": role, "content": "\n\n".join(part["text"] for part in parts)}]
    return [{"role": role, "content": parts}]


def _piece(part: Any) -> Item | None:
    if isinstance(part, File):
        return _file(part)
    return {"type": "input_text", "text": part.text} if isinstance(part, Text) and part.text else None


def _file(file: File) -> Item:
    kind, subtype = kind_of(file.media_type)
    if is_text(file.media_type):
        return {"type": "input_text", "text": inlined(file)}
    if kind == "image":
        return {"type": "input_image", "image_url": url_of_file(file), "detail": "auto"}
    if file.url and file.data is None:
        return {"type": "input_file", "file_url": file.url}
    name = file.name or f"file.{subtype}"
    return {"type": "input_file", "filename": name, "file_data": f"data:{file.media_type};base64,{base64_of(file)}"}


def _result(part: ToolResult) -> Item:
    return {"type": "function_call_output", "call_id": fitting_id(part.call_id, _CALL_ID), "output": part.content}


def _answer(message: Message) -> list[Item]:
    """Return the items of an answer. Reasoning that nothing followed is left out: it is refused alone."""
    items: list[Item] = []
    waiting: list[Item] = []
    for part in message.parts:
        item = _item(part, message)
        if item is None:
            continue
        waiting.append(item)
        if item.get("type") != "reasoning":
            items += waiting
            waiting = []
    return items


def _item(part: Any, message: Message) -> Item | None:
    match part:
        case Thinking():
            return item_of(part, message)
        case ToolCall():
            return _call(part)
        case Text(text) if text.strip():
            phase = part.metadata.get(PHASE)
            return {"role": "assistant", "content": text} | ({"phase": phase} if phase else {})
    return None


def _call(call: ToolCall) -> Item:
    extra = call.metadata.get("responses_call")
    own = dict(extra) if isinstance(extra, Mapping) else {}
    id, name = fitting_id(call.id, _CALL_ID), fitting_name(call.name)
    return {"type": "function_call", "call_id": id, "name": name, "arguments": call.arguments or "{}"} | own
