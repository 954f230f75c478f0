"""Formats of one conversation: each is a function from messages to pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmctl.core.exported_conversation import ExportedFile, ExportedMessage, ExportedToolCall
from llmctl.core.humanize import format_size
from llmctl.core.registry import Registry
from llmctl.core.stored_values import dumps

Render = Callable[[Iterable[ExportedMessage]], Iterator[str]]

RENDERINGS: Registry[Render] = Registry(
    "format",
    "llmctl.formats",
    {
        "text": "text:render_conversation",
        "markdown": "markdown:render_conversation",
        "json": "conversations:render_json",
    },
)


def to_snapshot(messages: Iterable[ExportedMessage]) -> list[dict[str, str]]:
    """Return messages as snapshots store them: ``type`` and ``content`` only."""
    return [{"type": message.type or message.role, "content": message_text(message)} for message in messages]


def render_json(messages: Iterable[ExportedMessage]) -> Iterator[str]:
    """Yield the result of :func:`to_snapshot` as a JSON array."""
    yield dumps(to_snapshot(messages)) + "\n"


def content_text(message: ExportedMessage) -> str:
    """Return the content of a message, or its tool results if it has none."""
    return message.content or "\n".join(result.content for result in message.tool_results if result.content)


def message_text(message: ExportedMessage, content: Callable[[ExportedMessage], str] = content_text) -> str:
    """Return a message as text: content or tool results, tool calls, files."""
    text = content(message)
    lines = [text] if text else []
    lines += [format_call(call) for call in message.tool_calls]
    lines += [f"[file: {format_file(file)}]" for file in message.attachments]
    return "\n".join(lines)


def format_call(call: ExportedToolCall) -> str:
    """Return a tool call on one line: ``weather({"city":"Paris"})``."""
    return f"{call.name}({call.arguments_text})"


def format_file(file: ExportedFile) -> str:
    """Return a file as text: name or URL, type, size."""
    words = [file.name or file.url or "unnamed", file.media_type]
    if file.size:
        words.append(format_size(file.size))
    return ", ".join(words)


def format_remark(message: ExportedMessage) -> str:
    """Return a note about a message: its model, and its status or error if it is not complete."""
    words = [message.model_id] if message.role == "assistant" and message.model_id else []
    if message.status != "completed":
        words.append("still being written" if message.status == "pending" else message.status)
    if message.error and message.role == "user":
        words.append(f"not answered: {message.error}")
    elif message.error:
        words.append(message.error)
    return ", ".join(words)
