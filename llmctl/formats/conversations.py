"""Formats of one conversation: each is a function from message records to pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.humanize import format_size
from llmctl.core.registry import Registry
from llmctl.core.stored_json import dumps

Message = Mapping[str, Any]
Render = Callable[[Iterable[Message]], Iterator[str]]

RENDERINGS: Registry[Render] = Registry(
    "format",
    "llmctl.formats",
    {
        "text": "text:render_conversation",
        "markdown": "markdown:render_conversation",
        "json": "conversations:render_json",
    },
)


def to_snapshot(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Return messages as snapshots store them: ``type`` and ``content`` only."""
    return [{"type": message["type"] or message["role"], "content": message_text(message)} for message in messages]


def render_json(messages: Iterable[Message]) -> Iterator[str]:
    """Yield the result of :func:`to_snapshot` as a JSON array."""
    yield dumps(to_snapshot(messages)) + "\n"


def message_text(message: Message) -> str:
    """Return a message as text: content or tool results, tool calls, files."""
    lines = [message["content"]] if message["content"] else []
    parts = message.get("content_raw")
    if isinstance(parts, list) and not lines:
        lines += [part["content"] for part in parts if part.get("type") == "tool_result" and part.get("content")]
    lines += [format_call(one) for one in message.get("tool_calls") or ()]
    lines += [f"[file: {format_file(one)}]" for one in message.get("attachments") or ()]
    return "\n".join(lines)


def format_call(one: Mapping[str, Any]) -> str:
    """Return a tool call on one line: ``weather({"city":"Paris"})``."""
    arguments = one["arguments"]
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return f"{one['name']}({text})"


def format_file(one: Mapping[str, Any]) -> str:
    """Return a file as text: name or URL, type, size."""
    words = [one["name"] or one["url"] or "unnamed", one["media_type"]]
    if one["size"]:
        words.append(format_size(one["size"]))
    return ", ".join(words)


def format_remark(message: Message) -> str:
    """Return a note about a message: its model, and its status or error if it is not complete."""
    words = [message["model_id"]] if message["role"] == "assistant" and message["model_id"] else []
    if message["status"] != "completed":
        words.append("still being written" if message["status"] == "pending" else message["status"])
    if message["error"]:
        words.append(message["error"])
    return ", ".join(words)
