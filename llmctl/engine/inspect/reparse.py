"""Answers read again from the bytes they came in: those still being written, and old ones with today's parser.

Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llmctl.core.chat import ChatResponse
from llmctl.core.errors import LlmctlError
from llmctl.core.messages import to_json
from llmctl.core.stored_json import loads
from llmctl.engine.turn import decode, history
from llmctl.engine.turn.message_parts import message_columns
from llmctl.store.database import Database, Row
from llmctl.store.records import chunks, messages, streams
from llmctl.store.serialize import decoded


@dataclass(frozen=True, slots=True)
class Reparsed:
    """What today's parser reads in a stored answer. ``differences`` is empty where the hub says the same."""

    response: ChatResponse
    error: LlmctlError | None
    differences: tuple[str, ...]


def complete(database: Database, found: Iterable[Row]) -> list[Row]:
    """Return messages (records) with the text so far in those that are still being written."""
    return [_so_far(database, row) if _is_running(row) else row for row in found]


def of_request(database: Database, request: Row) -> Reparsed | None:
    """Read the answer to a request again; None where nothing of it was kept."""
    stream = streams.of_request(database, request["id"])
    if stream is None:
        return None
    response, error = decode.fold_raw(chunks.raw(database, stream), loads(stream["format"], {}))
    return Reparsed(response, error, tuple(_differences(database, request, stream, response)))


def as_json(found: Reparsed) -> dict[str, Any]:
    """Return what was read as JSON."""
    response = found.response
    usage = response.usage
    return {
        "parts": to_json(response.message.parts),
        "content": response.message.text,
        "thinking": response.message.thinking or None,
        "finish_reason": response.finish_reason,
        "model": response.model,
        "usage": {name: getattr(usage, name) for name in usage.__slots__} if usage else None,
        "unreadable": list(response.unreadable),
        "error": found.error.message if found.error else None,
        "differs": bool(found.differences),
        "differences": list(found.differences),
    }


def _is_running(message: Row) -> bool:
    return bool(message["status"] == "pending" and message["role"] == "assistant" and message["origin"] != "orm")


def _so_far(database: Database, message: Row) -> Row:
    stream = streams.of_message(database, message["id"])
    if stream is None:
        return message
    response, _ = decode.fold_raw(chunks.raw(database, stream), loads(stream["format"], {}))
    found = message_columns(response)
    return message | {
        "content": found["content"],
        "content_raw": decoded(found["content_raw"]),
        "thinking_text": found["thinking_text"],
    }


def _differences(database: Database, request: Row, stream: Row, response: ChatResponse) -> Iterable[str]:
    """Yield what the hub says otherwise: numbers of the request, and the text of the message where it is there."""
    if request["status"] == "pending":
        return
    usage = response.usage
    now: dict[str, Any] = {"finish_reason": response.finish_reason, "response_model": response.model}
    if usage:
        names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")
        now |= {name: getattr(usage, name) for name in names}
    yield from (name for name, value in now.items() if value != request[name])
    message = messages.find(database, stream["message_id"])
    if message is not None and message["status"] != "pending":
        stored = history.message_of(message)
        yield from ("content",) if stored.text != response.message.text else ()
        yield from ("thinking",) if stored.thinking != response.message.thinking else ()
        calls = [(call.id, call.name, call.arguments) for call in stored.tool_calls]
        yield from (
            ("tool_calls",) if calls != [(c.id, c.name, c.arguments) for c in response.message.tool_calls] else ()
        )
