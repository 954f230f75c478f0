"""Messages as Chat Completions wants them, nothing lost: calls, results, thinking, attachments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.files import base64_of, inlined, is_text, kind_of, url_of_file
from llmctl.wire.openai_chat.thinking import replay
from llmctl.wire.tool_call_compat import fitting_id, fitting_name

_AUDIO = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-m4a": "m4a", "x-flac": "flac"}


def encode_messages(messages: Iterable[Message], dialect: Dialect) -> list[dict[str, Any]]:
    """Return the JSON messages. One that holds nothing is left out; assistant text is never empty or blank.

    Files of tool results follow, as a user message, after the last result of their turn: a tool message carries
    text only, and nothing may stand between a call and its results.
    """
    encoded: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for message in messages:
        if message.role != "tool" and files:
            encoded.append({"role": "user", "content": files})
            files = []
        if message.role == "tool":
            encoded += _results(message, dialect)
            files += [_file(part, dialect) for part in message.parts if isinstance(part, File)]
        elif one := _encode(message, dialect):
            encoded.append(one)
    return encoded + ([{"role": "user", "content": files}] if files else [])


def _encode(message: Message, dialect: Dialect) -> dict[str, Any] | None:
    if message.role == "assistant":
        return _assistant(message, dialect)
    if message.role == "system":
        return {"role": dialect.system_role, "content": message.text} if message.text else None
    content = _user_content(message, dialect)
    return {"role": "user", "content": content} if content else None


def _results(message: Message, dialect: Dialect) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": fitting_id(part.call_id, dialect.tool_call_ids), "content": part.content}
        for part in message.parts
        if isinstance(part, ToolResult)
    ]


def _assistant(message: Message, dialect: Dialect) -> dict[str, Any] | None:
    field = dialect.thinking_replay_field
    text = message.text
    calls = [_call(call, dialect) for call in message.tool_calls]
    if not text.strip() and not calls:
        return None
    thinking = [part for part in message.parts if isinstance(part, Thinking)]
    content: Any = text if text.strip() else None
    if field == "content" and any(part.text for part in thinking):
        content = _mistral_content(message)
    return (
        {"role": "assistant", "content": content} | replay(thinking, field) | ({"tool_calls": calls} if calls else {})
    )


def _call(call: ToolCall, dialect: Dialect) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "id": fitting_id(call.id, dialect.tool_call_ids),
        "type": "function",
        "function": {"name": fitting_name(call.name), "arguments": call.arguments or "{}"},
    }
    if dialect.thinking_replay_field == "extra_content" and "extra_content" in call.metadata:
        encoded["extra_content"] = call.metadata["extra_content"]
    return encoded


def _mistral_content(message: Message) -> list[dict[str, Any]]:
    """Return thinking and text as content parts: https://docs.mistral.ai/capabilities/reasoning/."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Thinking) and part.text:
            parts.append({"type": "thinking", "thinking": [{"type": "text", "text": part.text}]})
        elif isinstance(part, Text) and part.text.strip():
            parts.append({"type": "text", "text": part.text})
    return parts


def _user_content(message: Message, dialect: Dialect) -> str | list[dict[str, Any]]:
    """Return plain text where nothing else is there: not every host takes a list."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, File):
            parts.append(_file(part, dialect))
        elif isinstance(part, Text) and part.text:
            parts.append({"type": "text", "text": part.text})
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say whether a file can be sent: text, and what the dialect names; sound and text not by URL."""
    kind = kind_of(media_type)
    if is_text(media_type) or not "/".join(kind).startswith(dialect.files):
        return is_text(media_type) and not by_url
    return not by_url or kind[0] in ("image", "video") or (kind[1] == "pdf" and dialect.document_part != "file")


def _file(file: File, dialect: Dialect) -> dict[str, Any]:
    kind, subtype = kind_of(file.media_type)
    if is_text(file.media_type):
        return {"type": "text", "text": inlined(file)}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url_of_file(file)}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": url_of_file(file)}}
    if kind == "audio":
        format = _AUDIO.get(subtype, subtype)
        return {"type": "input_audio", "input_audio": {"data": base64_of(file), "format": format}}
    if dialect.document_part == "document_url":
        return {"type": "document_url", "document_url": url_of_file(file)}
    if dialect.document_part == "file_url":
        return {"type": "file_url", "file_url": {"url": file.url or base64_of(file)}}
    name = file.name or f"file.{subtype}"
    return {"type": "file", "file": {"filename": name, "file_data": url_of_file(file)}}
