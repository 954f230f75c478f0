"""Conversations as text: each format is a function from messages (records with ``tool_calls`` and ``attachments``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.registry import Registry
from llmctl.core.stored_json import dumps

Message = Mapping[str, Any]
Render = Callable[[Iterable[Message]], Iterator[str]]

RENDERINGS: Registry[Render] = Registry(
    "format",
    "llmctl.formats",
    {
        "text": "text:conversation",
        "markdown": "markdown:conversation",
        "json": "conversations:as_json",
    },
)


def plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Return messages as snapshots keep them: ``type`` and ``content``, nothing else."""
    return [{"type": message["type"] or message["role"], "content": body(message)} for message in messages]


def as_json(messages: Iterable[Message]) -> Iterator[str]:
    """Yield one JSON array of what :func:`plain` returns."""
    yield dumps(plain(messages)) + "\n"


def body(message: Message) -> str:
    """Return what a message says: its text, what a tool gave, the calls it makes."""
    lines = [message["content"]] if message["content"] else []
    parts = message.get("content_raw")
    if isinstance(parts, list) and not lines:
        lines += [part["content"] for part in parts if part.get("type") == "tool_result" and part.get("content")]
    lines += [call(one) for one in message.get("tool_calls") or ()]
    lines += [f"[file: {file(one)}]" for one in message.get("attachments") or ()]
    return "\n".join(lines)


def call(one: Mapping[str, Any]) -> str:
    """Return a tool call on a line: ``weather({"city":"Paris"})``."""
    arguments = one["arguments"]
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return f"{one['name']}({text})"


def file(one: Mapping[str, Any]) -> str:
    """Return a file in words: name or address, type, size."""
    words = [one["name"] or one["url"] or "unnamed", one["media_type"]]
    if one["size"]:
        words.append(f"{one['size']:,} bytes")
    return ", ".join(words)


def remark(message: Message) -> str:
    """Return what a reader should know of a message beside its text: who, and how it ended."""
    words = [message["model_id"]] if message["role"] == "assistant" and message["model_id"] else []
    if message["status"] != "completed":
        words.append("still being written" if message["status"] == "pending" else message["status"])
    if message["error"]:
        words.append(message["error"])
    return ", ".join(words)
