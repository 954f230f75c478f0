"""ShareGPT: JSON Lines of ``{"conversations": [{"from": "human", "value": ...}, ...]}``, as fine-tuning tools read it.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.chat import Part, Text, ToolCall, ToolResult
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkippedItems
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, sendable_messages, tool_results
from llmctl.formats.imports import Format

_FROM = {"system": "system", "user": "human", "assistant": "gpt"}
SOURCE = "sharegpt"
_ROLES = {
    **{"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"},
    **{"function_call": "assistant", "observation": "tool", "tool": "tool"},
}


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has an answer."""
    for conversation in map(Conversation.to_exported, found):
        turns = [turn for message in sendable_messages(conversation.messages) for turn in _to_turns(message)]
        if any(turn["from"] == "gpt" for turn in turns):
            yield dumps({"id": conversation.id, "conversations": turns}) + "\n"


def _to_turns(message: ExportedMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for result in tool_results(message):
            yield {"from": "observation", "value": result.content}
        return
    if message.content:
        yield {"from": _FROM.get(message.role, message.role), "value": message.content}
    for call in message.tool_calls:
        yield {"from": "function_call", "value": dumps({"name": call.name, "arguments": call.arguments})}


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    turns = item.get("conversations") if isinstance(item, dict) else None
    return (
        isinstance(turns, list) and bool(turns) and all(isinstance(t, dict) and t.get("from") in _ROLES for t in turns)
    )


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the conversation; its id is derived from the turns."""
    turns = item["conversations"]
    digest = sha256(dumps(turns).encode("utf-8", "surrogatepass")).hexdigest()
    entries = [
        ImportedMessage(_ROLES[turn["from"]], (_read_part(turn, index),), f"{digest}#{index}")  # type: ignore[arg-type]
        for index, turn in enumerate(turns)
    ]
    if item.get("system"):
        entries.insert(0, ImportedMessage("system", (Text(str(item["system"])),), f"{digest}#system"))
    yield ImportedConversation(SOURCE, digest, entries)


def _read_part(turn: Mapping[str, Any], index: int) -> Part:
    value = str(turn["value"])
    if turn["from"] == "function_call":
        call = json.loads(value)
        return ToolCall(f"call_{index}", call["name"], dumps(call.get("arguments", {})))
    if _ROLES[turn["from"]] == "tool":
        return ToolResult("", "", value)
    return Text(value)


FORMAT = Format(is_conversation, read_conversation)
