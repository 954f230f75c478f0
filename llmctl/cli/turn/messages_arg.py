"""``--messages``: a JSON array of messages, in the form of OpenAI's Chat Completions, to messages of our own."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.messages import Message, Part, Text, ToolCall, ToolResult
from llmctl.core.stored_json import dumps

_HINT = 'such as [{"role": "user", "content": "hello"}]'


def parsed_messages(text: str, source: str) -> tuple[Message, ...]:
    """Read the array; raises UsageError where it is none, or where it ends in nothing that can be answered."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f'"{source}" holds no JSON: {error}') from error
    if not isinstance(items, list) or not items:
        raise UsageError(f'"{source}" is no array of messages', hint=_HINT)
    names: dict[str, str] = {}
    messages = tuple(_message(item, source, names) for item in items)
    if messages[-1].role not in ("user", "tool"):
        raise UsageError(
            f'"{source}" ends in a message of the {messages[-1].role}', hint="the last one is what is answered"
        )
    return messages


def _message(item: Any, source: str, names: dict[str, str]) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    content = _content(item.get("content")) if isinstance(item, dict) else None
    match role:
        case "system" | "developer" if content is not None:
            return Message.of("system", content)
        case "user" if content:
            return Message.of("user", content)
        case "tool" if content is not None and isinstance(call_id := item.get("tool_call_id"), str):
            return Message("tool", (ToolResult(call_id, names.get(call_id, ""), content),))
        case "assistant" if parts := _assistant_parts(item, content, names):
            return Message("assistant", parts)
    raise UsageError(f'"{source}" holds something that is no message: {dumps(item)[:80]}', hint=_HINT)


def _assistant_parts(item: dict[str, Any], content: str | None, names: dict[str, str]) -> tuple[Part, ...]:
    parts: list[Part] = [Text(content)] if content else []
    for call in item.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(call.get("id"), str) and isinstance(function.get("name"), str):
            names[call["id"]] = function["name"]
            parts.append(ToolCall(call["id"], function["name"], str(function.get("arguments") or "{}")))
    return tuple(parts)


def _content(content: Any) -> str | None:
    """Return the text of a message; None where it has none, or holds something that is no text."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(map(str, texts)) if len(texts) == len(content) else None
    return content if isinstance(content, str) else None
