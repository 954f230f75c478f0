"""Read ShareGPT: ``{"conversations": [{"from": "human", "value": ...}, ...]}``, under the names that data sets use.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.chat import Part, Text, ToolCall, ToolResult
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkipCounter, SkippedItems
from llmctl.core.stored_values import dumps
from llmctl.formats.imports import Format
from llmctl.formats.message_links import OpenCalls

SOURCE = "sharegpt"
_CALL = "function_call"
_ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "bot", "model", "claude", "gemini"), "assistant"),
    **dict.fromkeys(("observation", "tool", "function_response"), "tool"),
    **{"system": "system", _CALL: "assistant"},
}
_SPEAKER, _VALUE = ("from", "role"), ("value", "content", "text")


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    turns = item.get("conversations") if isinstance(item, dict) else None
    return isinstance(turns, list) and any(_speaker(turn) in _ROLES for turn in turns)


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the conversation; its id is derived from the turns."""
    skipped, calls = SkipCounter(), OpenCalls()
    turns = item["conversations"]
    digest = sha256(dumps(turns).encode("utf-8", "surrogatepass")).hexdigest()
    entries = []
    if isinstance(item.get("system"), str) and item["system"]:
        entries.append(ImportedMessage("system", (Text(item["system"]),), f"{digest}#system"))
    for index, turn in enumerate(turns):
        role = _ROLES.get(_speaker(turn))
        if role is None:
            skipped.add_message()
        elif parts := tuple(_read_turn(turn, index, calls, skipped)):
            entries.append(ImportedMessage(role, parts, f"{digest}#{index}"))  # type: ignore[arg-type]
    yield ImportedConversation(SOURCE, digest, entries)
    yield from skipped.items()


def _speaker(turn: Any) -> str:
    """Return who speaks in lower case; empty if it is unknown."""
    found = next((turn[name] for name in _SPEAKER if name in turn), None) if isinstance(turn, dict) else None
    return found.lower() if isinstance(found, str) else ""


def _read_turn(turn: Mapping[str, Any], index: int, calls: OpenCalls, skipped: SkipCounter) -> Iterator[Part]:
    found = next((turn[name] for name in _VALUE if turn.get(name) is not None), None)
    value = found if isinstance(found, str) else dumps(found) if found is not None else ""
    if _speaker(turn) == _CALL:
        yield from _read_calls(value, index, calls, skipped)
    elif _ROLES[_speaker(turn)] == "tool":
        yield ToolResult(calls.answer(None), "", value)
    elif value:
        yield Text(value)


def _read_calls(value: str, index: int, calls: OpenCalls, skipped: SkipCounter) -> Iterator[ToolCall]:
    """Yield the call of a turn, or its list of calls."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    for number, call in enumerate(document if isinstance(document, list) else [document]):
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(name, str):
            skipped.add_block(_CALL)
            continue
        arguments = call.get("arguments") or {}
        id = calls.add(None, name, f"call_{index}_{number}")
        yield ToolCall(id, name, arguments if isinstance(arguments, str) else dumps(arguments))


FORMAT = Format(is_conversation, read_conversation)
