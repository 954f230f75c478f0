"""Claude's data export: ``conversations.json``, an array of conversations with ``chat_messages``.

https://support.claude.com/en/articles/9450526-how-can-i-export-my-claude-data
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import File, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import (
    ImportedConversation,
    ImportedMessage,
    SkipCounter,
    SkippedItems,
    refer_to_file,
)
from llmctl.core.stored_values import dumps
from llmctl.formats.imports import Format
from llmctl.formats.message_links import OpenCalls, iter_branches

SOURCE = "claude"
_ROLES = {"human": "user", "user": "user", "assistant": "assistant"}
#: Parent of the first message.
_ROOT = "00000000-0000-4000-8000-000000000000"
#: What ``text`` holds in place of a block that the exporting program cannot show.
_UNSUPPORTED = re.compile(r"(?:```\s*)?This block is not supported on your current device yet\.(?:\s*```)?")
#: A step of a message: its role, and its parts.
Step = tuple[str, list[Part]]


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    return isinstance(item, dict) and isinstance(item.get("chat_messages"), list)


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the current branch, or that of the newest message, then the others as forks of it."""
    skipped, calls = SkipCounter(), OpenCalls()
    id = _text_of(item.get("uuid")) or sha256(dumps(item).encode("utf-8", "surrogatepass")).hexdigest()
    messages = _list_messages(id, item["chat_messages"], skipped)
    steps = {key: _read_message(key, message, calls, skipped) for key, message in messages.items()}
    leaf = _text_of(item.get("current_leaf_message_uuid"))
    current = leaf if leaf in messages else next(reversed(messages), None)
    for number, (path, shared) in enumerate(iter_branches(_find_parents(messages), current)):
        yield ImportedConversation(
            SOURCE,
            id if not number else f"{id}/{path[-1]}",
            [entry for key in path for entry in steps[key]],
            _text_of(item.get("name")),
            _parse_time(item.get("created_at")),
            _parse_time(item.get("updated_at")),
            _text_of(item.get("model")),
            "anthropic",
            parent_id=id if number else None,
            shared=sum(len(steps[key]) for key in path[:shared]) if number else 0,
        )
    if not messages:
        yield ImportedConversation(SOURCE, id, [])
    yield from skipped.items()


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list_messages(id: str, found: list[Any], skipped: SkipCounter) -> dict[str, Mapping[str, Any]]:
    """Return the messages by their ids; those without one get one from their position."""
    messages: dict[str, Mapping[str, Any]] = {}
    for index, one in enumerate(found):
        if isinstance(one, dict) and _text_of(one.get("sender")) in _ROLES:
            messages[_text_of(one.get("uuid")) or f"{id}#{index}"] = one
        else:
            skipped.add_message()
    return messages


def _find_parents(messages: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Return message -> its parent. Without links, or where one is missing, that is the message before."""
    linked = any(_text_of(one.get("parent_message_uuid")) in messages for one in messages.values())
    found: dict[str, str | None] = {}
    before: str | None = None
    for id, one in messages.items():
        parent = _text_of(one.get("parent_message_uuid")) if linked else None
        is_known = parent in messages
        breaks_off = not linked or parent is None or not (before is None or messages[before].get("uuid"))
        found[id] = parent if is_known else before if breaks_off and parent != _ROOT else None
        before = id
    return found


def _read_message(id: str, message: Mapping[str, Any], calls: OpenCalls, skipped: SkipCounter) -> list[ImportedMessage]:
    """Return a message as its steps: an answer up to its tool calls, then their results, and so on."""
    role = _ROLES[message["sender"]]
    steps: list[Step] = [(role, [])]
    for kind, part in _read_parts(id, message, role, calls, skipped):
        if kind != steps[-1][0]:
            steps.append((kind, []))
        steps[-1][1].append(part)
    filled = [(kind, parts) for kind, parts in steps if parts]
    return [
        ImportedMessage(
            kind,  # type: ignore[arg-type]
            tuple(parts),
            id if index == len(filled) - 1 else f"{id}#{index}",
            _parse_time(message.get("created_at")),
            provider="anthropic" if kind == "assistant" else None,
        )
        for index, (kind, parts) in enumerate(filled)
    ]


def _read_parts(
    id: str, message: Mapping[str, Any], role: str, calls: OpenCalls, skipped: SkipCounter
) -> Iterator[tuple[str, Part]]:
    content = message.get("content")
    blocks = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    found: list[tuple[str, Part]] = []
    for index, block in enumerate(blocks):
        try:
            found += _read_block(block, role, f"{id}#call{index}", calls, skipped)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            skipped.add_block(block.get("type") if isinstance(block, dict) else type(block).__name__)
    yield from found
    text = _text_of(message.get("text")) or ""
    if not any(isinstance(part, Text) for _, part in found) and (text := _UNSUPPORTED.sub("", text).strip()):
        yield role, Text(text)
    yield from ((role, file) for file in _read_files(message))


def _read_files(message: Mapping[str, Any]) -> Iterator[File]:
    attachments = message.get("attachments")
    for one in attachments if isinstance(attachments, list) else ():
        text = _text_of(one.get("extracted_content")) if isinstance(one, dict) else None
        if text:
            yield File("text/plain", text.encode("utf-8", "replace"), name=_text_of(one.get("file_name")))
    files = message.get("files") or message.get("files_v2")
    for one in files if isinstance(files, list) else ():
        name = _text_of(one.get("file_name")) if isinstance(one, dict) else None
        reference = _text_of(one.get("file_uuid")) if isinstance(one, dict) else None
        if name or reference:
            yield refer_to_file(reference or name or "", name=name)


def _read_block(
    block: Any, role: str, default_id: str, calls: OpenCalls, skipped: SkipCounter
) -> Iterator[tuple[str, Part]]:
    if isinstance(block, str):
        block = {"type": "text", "text": block}
    kind = block.get("type")
    if kind == "tool_use":
        name = _text_of(block.get("name")) or "tool"
        id = calls.add(_text_of(block.get("id")), name, default_id)
        yield role, ToolCall(id, name, dumps(block.get("input") or {}))
    elif kind == "tool_result":
        name = _text_of(block.get("name")) or "tool"
        id = calls.answer(_text_of(block.get("tool_use_id")), name)
        yield "tool", ToolResult(id, name, _read_result(block.get("content")), bool(block.get("is_error")))
    elif kind == "thinking":
        if text := _text_of(block.get("thinking")):
            yield role, Thinking(text)
    elif text := _text_of(block.get("text")):
        yield role, Text(text)
    elif kind != "text":
        skipped.add_block(kind)


def _read_result(content: Any) -> str:
    if isinstance(content, str):
        return content
    pieces = content if isinstance(content, list) else [content] if content else []
    return "\n".join(str(one.get("text") or dumps(one)) if isinstance(one, dict) else str(one) for one in pieces)


def _parse_time(text: Any) -> str | None:
    try:
        return clock.format(clock.parse(text)) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


FORMAT = Format(is_conversation, read_conversation)
