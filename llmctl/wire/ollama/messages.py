"""Messages as Ollama wants them: text, pictures apart from it, calls with arguments as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.files import base64_of, inlined, is_text, kind_of
from llmctl.wire.tool_call_compat import arguments_object

#: Mark of the thinking that this wire read; what other providers' models thought is not given back.
ORIGIN = "ollama"
_PICTURES = ("jpeg", "jpg", "png", "webp")


def encode_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the JSON messages; one that holds nothing is left out.

    Pictures of tool results follow, as a user message, after the last result of their turn.
    """
    encoded: list[dict[str, Any]] = []
    pictures: list[str] = []
    for message in messages:
        if message.role != "tool" and pictures:
            encoded.append(_shown(pictures))
            pictures = []
        if message.role == "tool":
            encoded += [_result(part) for part in message.parts if isinstance(part, ToolResult)]
            pictures += _pictures(message)
        elif one := _assistant(message) if message.role == "assistant" else _said(message):
            encoded.append(one)
    return encoded + ([_shown(pictures)] if pictures else [])


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say whether a file can be sent: text and pictures, as bytes."""
    return not by_url and (_is_picture(media_type) or is_text(media_type))


def _said(message: Message) -> dict[str, Any] | None:
    texts = [text for part in message.parts if (text := _words(part))]
    pictures = _pictures(message)
    if not texts and not pictures:
        return None
    return {"role": message.role, "content": "\n\n".join(texts)} | ({"images": pictures} if pictures else {})


def _words(part: Any) -> str:
    if isinstance(part, File) and not _is_picture(part.media_type):
        return _inlined(part)
    return part.text if isinstance(part, Text) else ""


def _assistant(message: Message) -> dict[str, Any] | None:
    calls = [_call(call) for call in message.tool_calls]
    if not message.text.strip() and not calls:
        return None
    thought = "".join(
        part.text for part in message.parts if isinstance(part, Thinking) and part.metadata.get("wire") == ORIGIN
    )
    return (
        {"role": "assistant", "content": message.text}
        | ({"thinking": thought} if thought else {})
        | ({"tool_calls": calls} if calls else {})
    )


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": arguments_object(call.arguments)}}


def _result(part: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "tool_name": part.name, "content": part.content}


def _shown(pictures: list[str]) -> dict[str, Any]:
    return {"role": "user", "content": "", "images": pictures}


def _pictures(message: Message) -> list[str]:
    files = (part for part in message.parts if isinstance(part, File))
    return [base64_of(file) for file in files if _is_picture(file.media_type)]


def _is_picture(media_type: str) -> bool:
    kind, subtype = kind_of(media_type)
    return kind == "image" and subtype in _PICTURES


def _inlined(file: File) -> str:
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection takes no {file.media_type}: {file.name or 'attachment'}",
            hint="pictures (jpeg, png, webp) and text can be sent",
            reason="attachment",
        )
    return inlined(file)
