"""Claude's data export: ``conversations.json``, an array of conversations with ``chat_messages``.

https://support.claude.com/en/articles/9450526-how-can-i-export-my-claude-data
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import File, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkippedItems
from llmctl.core.stored_values import dumps
from llmctl.formats.imports import Format
from llmctl.formats.message_tree import iter_branches

SOURCE = "claude"
_ROLES = {"human": "user", "assistant": "assistant"}


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    return isinstance(item, dict) and isinstance(item.get("chat_messages"), list) and "uuid" in item


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the branch of the newest message, then the others as forks of it."""
    messages = {str(one["uuid"]): one for one in item["chat_messages"]}
    linked = any(one.get("parent_message_uuid") in messages for one in messages.values())
    ids = list(messages)
    parents = {id: messages[id].get("parent_message_uuid") for id in ids} if linked else _link_in_order(ids)
    for number, (path, shared) in enumerate(iter_branches(parents, ids[-1] if ids else None)):
        entries = [entry for id in path for entry in _read_message(messages[id])]
        same = sum(1 for id in path[:shared] for _ in _read_message(messages[id]))
        yield ImportedConversation(
            SOURCE,
            item["uuid"] if not number else f"{item['uuid']}/{path[-1]}",
            entries,
            item.get("name") or None,
            _parse_time(item.get("created_at")),
            _parse_time(item.get("updated_at")),
            item.get("model"),
            "anthropic",
            parent_id=item["uuid"] if number else None,
            shared=same if number else 0,
        )
    files = sum(len(one.get("files") or ()) for one in messages.values())
    if files:
        yield SkippedItems(files, "files, which the export mentions but does not contain")


def _link_in_order(ids: list[str]) -> dict[str, str | None]:
    return dict(zip(ids, (None, *ids[:-1]), strict=True))


def _read_message(message: Mapping[str, Any]) -> Iterator[ImportedMessage]:
    """Yield a message as its steps: an answer up to its tool calls, then their results, and so on."""
    role = _ROLES.get(str(message.get("sender")))
    if role is None:
        return
    steps: list[tuple[str, list[Part]]] = [(role, [])]
    for kind, part in _read_parts(message, role):
        if kind != steps[-1][0]:
            steps.append((kind, []))
        steps[-1][1].append(part)
    filled_steps = [(kind, parts) for kind, parts in steps if parts]
    for index, (kind, parts) in enumerate(filled_steps):
        id = str(message["uuid"]) if index == len(filled_steps) - 1 else f"{message['uuid']}#{index}"
        provider = "anthropic" if kind == "assistant" else None
        yield ImportedMessage(kind, tuple(parts), id, _parse_time(message.get("created_at")), provider=provider)  # type: ignore[arg-type]


def _read_parts(message: Mapping[str, Any], role: str) -> Iterator[tuple[str, Part]]:
    found = [part for one in message.get("content") or () if (part := _read_part(one, role))]
    yield from found
    if not any(isinstance(part, Text) for _, part in found) and message.get("text"):
        yield role, Text(message["text"])
    for one in message.get("attachments") or ():
        if text := one.get("extracted_content"):
            yield role, File("text/plain", str(text).encode(), name=one.get("file_name") or None)


def _read_part(one: Any, role: str) -> tuple[str, Part] | None:
    if not isinstance(one, dict):
        return None
    match one.get("type"):
        case "text":
            return (role, Text(str(one["text"]))) if one.get("text") else None
        case "thinking":
            return (role, Thinking(str(one["thinking"]))) if one.get("thinking") else None
        case "tool_use":
            name = str(one.get("name") or "tool")
            return role, ToolCall(str(one.get("id") or name), name, dumps(one.get("input") or {}))
        case "tool_result":
            id, name = one.get("tool_use_id") or one.get("name") or "", str(one.get("name") or "tool")
            return "tool", ToolResult(str(id), name, _read_result(one.get("content")), bool(one.get("is_error")))
        case other:
            return role, Text(f"[{other}]")


def _read_result(content: Any) -> str:
    if isinstance(content, str):
        return content
    pieces = content if isinstance(content, list) else []
    return "\n".join(str(one.get("text") or dumps(one)) if isinstance(one, dict) else str(one) for one in pieces)


def _parse_time(text: Any) -> str | None:
    try:
        return clock.format(clock.parse(text)) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


FORMAT = Format(is_conversation, read_conversation)
