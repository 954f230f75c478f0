"""A response as columns of ``messages``."""

from __future__ import annotations

from typing import Any

from llmctl.core.chat import ChatResponse
from llmctl.core.jsontext import dumps
from llmctl.core.messages import File, Message, Text, Thinking, to_json


def message_columns(response: ChatResponse) -> dict[str, Any]:
    """Return what a response says as columns of its message."""
    message = response.message
    signatures = [part.signature for part in message.parts if isinstance(part, Thinking) and part.signature]
    usage = response.usage
    return {
        "content": message.text,
        "content_raw": raw_parts(message),
        "thinking_text": message.thinking or None,
        "thinking_signature": signatures[-1] if signatures else None,
        "thinking_tokens": usage.thinking_tokens if usage and usage.thinking_tokens else None,
        "finish_reason": response.finish_reason,
        "metadata": dumps(dict(message.metadata)) if message.metadata else None,
    }


def raw_parts(message: Message) -> str | None:
    """Return the parts as JSON, or None where the text alone says it all."""
    parts = [part for part in message.parts if not isinstance(part, File)]
    plain = len(parts) <= 1 and all(isinstance(part, Text) and not part.metadata for part in parts)
    return None if plain else dumps(to_json(parts))
