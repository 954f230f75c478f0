"""Encode messages for Ollama: text, images in their own field, call arguments as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.media_types import is_text
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.attachments import encode_base64, inline_text, split_media_type
from llmctl.wire.tool_call_compat import parse_arguments

#: Marks thinking that this wire produced; thinking of other providers is not sent back.
ORIGIN = "ollama"
_IMAGE_SUBTYPES = ("jpeg", "jpg", "png", "webp")


def encode_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the JSON messages; empty messages are omitted.

    Images of tool results follow in a user message after the last result of their turn.
    """
    encoded: list[dict[str, Any]] = []
    images: list[str] = []
    for message in messages:
        if message.role != "tool" and images:
            encoded.append(_image_message(images))
            images = []
        if message.role == "tool":
            encoded += [_encode_result(part) for part in message.parts if isinstance(part, ToolResult)]
            images += _encode_images(message)
        elif one := _encode_assistant(message) if message.role == "assistant" else _encode_user(message):
            encoded.append(one)
    return encoded + ([_image_message(images)] if images else [])


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text and images, as bytes."""
    return not by_url and (_is_image(media_type) or is_text(media_type))


def _encode_user(message: Message) -> dict[str, Any] | None:
    texts = [text for part in message.parts if (text := _part_text(part))]
    images = _encode_images(message)
    if not texts and not images:
        return None
    return {"role": message.role, "content": "\n\n".join(texts)} | ({"images": images} if images else {})


def _part_text(part: Any) -> str:
    if isinstance(part, File) and not _is_image(part.media_type):
        return _inline_file(part)
    return part.text if isinstance(part, Text) else ""


def _encode_assistant(message: Message) -> dict[str, Any] | None:
    calls = [_encode_call(call) for call in message.tool_calls]
    if not message.text.strip() and not calls:
        return None
    thinking = "".join(
        part.text for part in message.parts if isinstance(part, Thinking) and part.metadata.get("wire") == ORIGIN
    )
    return (
        {"role": "assistant", "content": message.text}
        | ({"thinking": thinking} if thinking else {})
        | ({"tool_calls": calls} if calls else {})
    )


def _encode_call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": parse_arguments(call.arguments)}}


def _encode_result(part: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "tool_name": part.name, "content": part.content}


def _image_message(images: list[str]) -> dict[str, Any]:
    return {"role": "user", "content": "", "images": images}


def _encode_images(message: Message) -> list[str]:
    files = (part for part in message.parts if isinstance(part, File))
    return [encode_base64(file) for file in files if _is_image(file.media_type)]


def _is_image(media_type: str) -> bool:
    kind, subtype = split_media_type(media_type)
    return kind == "image" and subtype in _IMAGE_SUBTYPES


def _inline_file(file: File) -> str:
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection does not accept {file.media_type}: {file.name or 'attachment'}",
            hint="it accepts images (jpeg, png, webp) and text",
            reason="attachment",
        )
    return inline_text(file)
