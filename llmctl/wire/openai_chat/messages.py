"""Encode messages for Chat Completions: text, tool calls, results, thinking and attachments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.media_types import is_text
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.attachments import build_file_url, encode_base64, inline_text, split_media_type
from llmctl.wire.openai_chat.thinking import encode_thinking
from llmctl.wire.tool_call_compat import to_valid_id, to_valid_name

_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-m4a": "m4a", "x-flac": "flac"}


def encode_messages(messages: Iterable[Message], dialect: Dialect) -> list[dict[str, Any]]:
    """Return the JSON messages. Empty messages are omitted; assistant text is never empty or blank.

    Files of tool results follow in a user message after the last result of their turn: a tool message is text only,
    and nothing may come between a call and its results.
    """
    encoded: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for message in messages:
        if message.role != "tool" and files:
            encoded.append({"role": "user", "content": files})
            files = []
        if message.role == "tool":
            encoded += _encode_results(message, dialect)
            files += [_encode_file(part, dialect) for part in message.parts if isinstance(part, File)]
        elif one := _encode_message(message, dialect):
            encoded.append(one)
    return encoded + ([{"role": "user", "content": files}] if files else [])


def _encode_message(message: Message, dialect: Dialect) -> dict[str, Any] | None:
    if message.role == "assistant":
        return _encode_assistant(message, dialect)
    if message.role == "system":
        return {"role": dialect.system_role, "content": message.text} if message.text else None
    content = _encode_user_content(message, dialect)
    return {"role": "user", "content": content} if content else None


def _encode_results(message: Message, dialect: Dialect) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": to_valid_id(part.call_id, dialect.tool_call_ids), "content": part.content}
        for part in message.parts
        if isinstance(part, ToolResult)
    ]


def _encode_assistant(message: Message, dialect: Dialect) -> dict[str, Any] | None:
    field = dialect.thinking_replay_field
    text = message.text
    calls = [_encode_call(call, dialect) for call in message.tool_calls]
    if not text.strip() and not calls:
        return None
    thinking = [part for part in message.parts if isinstance(part, Thinking)]
    content: Any = text if text.strip() else None
    if field == "content" and any(part.text for part in thinking):
        content = _encode_content_parts(message)
    return (
        {"role": "assistant", "content": content}
        | encode_thinking(thinking, field)
        | ({"tool_calls": calls} if calls else {})
    )


def _encode_call(call: ToolCall, dialect: Dialect) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "id": to_valid_id(call.id, dialect.tool_call_ids),
        "type": "function",
        "function": {"name": to_valid_name(call.name), "arguments": call.arguments or "{}"},
    }
    if dialect.thinking_replay_field == "extra_content" and "extra_content" in call.metadata:
        encoded["extra_content"] = call.metadata["extra_content"]
    return encoded


def _encode_content_parts(message: Message) -> list[dict[str, Any]]:
    """Return thinking and text as content parts: https://docs.mistral.ai/capabilities/reasoning/."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Thinking) and part.text:
            parts.append({"type": "thinking", "thinking": [{"type": "text", "text": part.text}]})
        elif isinstance(part, Text) and part.text.strip():
            parts.append({"type": "text", "text": part.text})
    return parts


def _encode_user_content(message: Message, dialect: Dialect) -> str | list[dict[str, Any]]:
    """Return plain text if there is nothing else: not every host accepts a list."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, File):
            parts.append(_encode_file(part, dialect))
        elif isinstance(part, Text) and part.text:
            parts.append({"type": "text", "text": part.text})
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text, and the types of the dialect; audio and text not by URL."""
    kind = split_media_type(media_type)
    if is_text(media_type) or not "/".join(kind).startswith(dialect.files):
        return is_text(media_type) and not by_url
    return not by_url or kind[0] in ("image", "video") or (kind[1] == "pdf" and dialect.document_part != "file")


def _encode_file(file: File, dialect: Dialect) -> dict[str, Any]:
    kind, subtype = split_media_type(file.media_type)
    if is_text(file.media_type):
        return {"type": "text", "text": inline_text(file)}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": build_file_url(file)}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": build_file_url(file)}}
    if kind == "audio":
        format = _AUDIO_FORMATS.get(subtype, subtype)
        return {"type": "input_audio", "input_audio": {"data": encode_base64(file), "format": format}}
    if dialect.document_part == "document_url":
        return {"type": "document_url", "document_url": build_file_url(file)}
    if dialect.document_part == "file_url":
        return {"type": "file_url", "file_url": {"url": file.url or encode_base64(file)}}
    name = file.name or f"file.{subtype}"
    return {"type": "file", "file": {"filename": name, "file_data": build_file_url(file)}}
