"""A response as columns of ``messages``."""

from __future__ import annotations

from typing import Any

from llmctl.core.chat import ChatResponse
from llmctl.core.events import Usage
from llmctl.core.messages import File, Message, Text, Thinking, to_json
from llmctl.core.stored_json import dumps


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


def usage_columns(usage: Usage | None) -> dict[str, Any]:
    """Return what a request used as columns of ``requests``; nothing where nobody said."""
    if usage is None:
        return {}
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "thinking_tokens": usage.thinking_tokens,
        "usage_details": dumps(dict(usage.details)) if usage.details else None,
        "cost": usage.cost,
    }


def ends_turn(message: Message, status: str) -> bool:
    """Say whether an answer ends its turn, and so is part of the chat: a step that calls tools does not.

    A broken one with calls only has nothing that people (or other programs on the hub) could be shown.
    """
    return not message.tool_calls or (status != "completed" and bool(message.text))


def raw_parts(message: Message) -> str | None:
    """Return the parts as JSON, or None where the text alone says it all."""
    parts = [part for part in message.parts if not isinstance(part, File)]
    plain = len(parts) <= 1 and all(isinstance(part, Text) and not part.metadata for part in parts)
    return None if plain else dumps(to_json(parts))
