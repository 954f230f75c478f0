"""ShareGPT conversations, read: ``{"conversations": [{"from": ..., "value": ...}]}``, one a document.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.imported_conversation import Entry, History, Passed
from llmctl.core.messages import Part, Text, ToolCall, ToolResult
from llmctl.core.stored_json import dumps
from llmctl.formats.imports import Format

SOURCE = "sharegpt"
_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
_ROLES |= {"function_call": "assistant", "observation": "tool", "tool": "tool"}


def fits(item: Any) -> bool:
    """Tell whether a document is a conversation of this kind."""
    turns = item.get("conversations") if isinstance(item, dict) else None
    return (
        isinstance(turns, list) and bool(turns) and all(isinstance(t, dict) and t.get("from") in _ROLES for t in turns)
    )


def read(item: Mapping[str, Any]) -> Iterator[History | Passed]:
    """Yield the conversation; the same turns are the same conversation."""
    turns = item["conversations"]
    digest = sha256(dumps(turns).encode("utf-8", "surrogatepass")).hexdigest()
    entries = [
        Entry(_ROLES[turn["from"]], (_part(turn, place),), f"{digest}#{place}")  # type: ignore[arg-type]
        for place, turn in enumerate(turns)
    ]
    if item.get("system"):
        entries.insert(0, Entry("system", (Text(str(item["system"])),), f"{digest}#system"))
    yield History(SOURCE, digest, entries)


def _part(turn: Mapping[str, Any], place: int) -> Part:
    value = str(turn["value"])
    if turn["from"] == "function_call":
        call = json.loads(value)
        return ToolCall(f"call_{place}", call["name"], dumps(call.get("arguments", {})))
    if _ROLES[turn["from"]] == "tool":
        return ToolResult("", "", value)
    return Text(value)


FORMAT = Format(fits, read)
