"""ChatGPT's data export: ``conversations.json``, an array of trees of messages.

https://help.openai.com/en/articles/7260999-how-do-i-export-my-chatgpt-history-and-data
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkippedItems
from llmctl.formats.imports import Format
from llmctl.formats.message_tree import iter_branches

SOURCE = "chatgpt"
_ROLES = ("system", "user", "assistant", "tool")


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    return isinstance(item, dict) and isinstance(item.get("mapping"), dict) and "current_node" in item


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the current branch, then the others as forks of it."""
    nodes = {id: node for id, node in item["mapping"].items() if isinstance(node, dict)}
    parents = {id: node.get("parent") for id, node in nodes.items()}
    id = str(item.get("conversation_id") or item.get("id"))
    files = 0
    for number, (path, shared) in enumerate(iter_branches(parents, item.get("current_node"))):
        entries = [entry for node in path if (entry := _read_message(nodes[node].get("message")))]
        same = sum(1 for node in path[:shared] if _read_message(nodes[node].get("message")))
        if number and same == len(entries):
            continue  # the branch has no messages of its own
        yield ImportedConversation(
            SOURCE,
            id if not number else f"{id}/{path[-1]}",
            entries,
            item.get("title") or None,
            _parse_time(item.get("create_time")),
            _parse_time(item.get("update_time")),
            next((entry.model for entry in reversed(entries) if entry.model), None),
            "openai",
            parent_id=id if number else None,
            shared=same if number else 0,
        )
        files += sum(_count_files(nodes[node].get("message")) for node in path[0 if not number else shared :])
    if files:
        yield SkippedItems(files, "files, which conversations.json mentions but does not contain")


def _read_message(message: Any) -> ImportedMessage | None:
    if not isinstance(message, dict):
        return None
    role = (message.get("author") or {}).get("role")
    parts = tuple(_read_parts(message, role))
    if role not in _ROLES or not parts:
        return None
    metadata = message.get("metadata") or {}
    return ImportedMessage(
        role,
        parts,
        str(message.get("id")),
        _parse_time(message.get("create_time")),
        metadata.get("model_slug") if role == "assistant" else None,
        "openai" if role == "assistant" else None,
        complete=message.get("status") != "in_progress",
    )


def _read_parts(message: Mapping[str, Any], role: str | None) -> Iterator[Part]:
    content = message.get("content") or {}
    text = _read_text(content)
    recipient = message.get("recipient") or "all"
    if role == "assistant" and recipient != "all":
        yield ToolCall(str(message.get("id")), recipient, text)
    elif role == "tool" and text:
        yield ToolResult("", str((message.get("author") or {}).get("name") or "tool"), text)
    elif role == "assistant" and content.get("content_type") in ("thoughts", "reasoning_recap") and text:
        yield Thinking(text)
    elif text:
        yield Text(text)


def _read_text(content: Mapping[str, Any]) -> str:
    """Return the text of a content of any type."""
    match content.get("content_type"):
        case "text" | "multimodal_text":
            return "\n".join(filter(None, map(_read_text_part, content.get("parts") or ())))
        case "thoughts":
            return "\n\n".join(str(one.get("content") or one.get("summary") or "") for one in content["thoughts"])
        case "user_editable_context":
            return "\n\n".join(filter(None, (content.get("user_profile"), content.get("user_instructions"))))
        case _:
            known = ("text", "result", "content", "model_set_context")
            return next((str(content[name]) for name in known if content.get(name)), "")


def _read_text_part(piece: Any) -> str:
    if isinstance(piece, dict):
        return str(piece.get("text") or f"[file: {piece.get('asset_pointer') or piece.get('content_type')}]")
    return str(piece)


def _count_files(message: Any) -> int:
    pieces = ((message or {}).get("content") or {}).get("parts") or ()
    return sum(1 for piece in pieces if isinstance(piece, dict) and piece.get("asset_pointer"))


def _parse_time(seconds: Any) -> str | None:
    return clock.from_unix(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


FORMAT = Format(is_conversation, read_conversation)
