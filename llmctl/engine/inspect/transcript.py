"""Read threads with partial answers, and reparse stored answers with today's parsers. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core.chat import ChatResponse, parts_to_json
from llmctl.core.errors import LlmctlError
from llmctl.core.stored_values import loads, parse_json_or_text
from llmctl.engine.turn import decode
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, messages, requests
from llmctl.store.records.types import RequestRow


def conversation(database: Database, thread_id: str, *, steps: bool) -> list[Row]:
    """Return a thread's messages, including the partial text of those still being written."""
    return list(with_partial_answers(database, messages.conversation(database, thread_id, steps=steps)))


def with_partial_answers(database: Database, found: Iterable[Row]) -> Iterator[Row]:
    """Yield messages, including the partial text of those still being written."""
    for row in found:
        yield _partial_answer(database, row) if _is_running(row) else row


@dataclass(frozen=True, slots=True)
class ReparsedAnswer:
    """A stored answer as today's parser reads it; ``differences`` names what the hub has differently."""

    response: ChatResponse
    error: LlmctlError | None
    differences: tuple[str, ...]


def reparse(database: Database, request: RequestRow) -> ReparsedAnswer | None:
    """Parse the stored answer to a request again; None if it was not stored."""

    stream = requests.find_request_stream(database, request.id)
    if stream is None:
        return None
    raw, tools = requests.stream_bytes(database, stream), loads(request.parameters, {}).get("tools") or ()
    response, error = decode.parse_stored_answer(raw, loads(stream["format"], {}), tools)
    return ReparsedAnswer(response, error, tuple(_find_differences(database, request, stream, response)))


def reparsed_record(found: ReparsedAnswer) -> dict[str, Any]:
    """Return a reparsed answer as JSON."""
    response = found.response
    usage = response.usage
    return {
        "parts": parts_to_json(response.message.parts),
        "content": response.message.text,
        "thinking": response.message.thinking or None,
        "finish_reason": response.finish_reason,
        "model": response.model,
        "usage": usage.to_dict() if usage else None,
        "unreadable": list(response.unreadable),
        "error": found.error.message if found.error else None,
        "differs": bool(found.differences),
        "differences": list(found.differences),
    }


def _is_running(message: Row) -> bool:
    return bool(message["status"] == "pending" and message["role"] == "assistant" and message["origin"] != "orm")


def _partial_answer(database: Database, message: Row) -> Row:
    stream = requests.find_message_stream(database, message["id"])
    if stream is None:
        return message

    from llmctl.engine.turn.records import message_columns

    response, _ = decode.parse_stored_answer(requests.stream_bytes(database, stream), loads(stream["format"], {}))
    found = message_columns(response)
    return message | {
        "content": found["content"],
        "content_raw": parse_json_or_text(found["content_raw"]),
        "thinking_text": found["thinking_text"],
    }


def _find_differences(database: Database, request: RequestRow, stream: Row, response: ChatResponse) -> Iterable[str]:
    """Yield what differs in the hub: figures of the request, and the text of the message if it is stored."""
    if request.status == "pending":
        return
    usage = response.usage
    now: dict[str, Any] = {"finish_reason": response.finish_reason, "response_model": response.model}
    if usage:
        names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")
        now |= {name: getattr(usage, name) for name in names}
    yield from (name for name, value in now.items() if value != getattr(request, name))
    message = messages.find(database, stream["message_id"])

    if message is not None and message.status != "pending":
        stored = chats.to_message(message)
        yield from ("content",) if stored.text != response.message.text else ()
        yield from ("thinking",) if stored.thinking != response.message.thinking else ()
        calls = [(call.id, call.name, call.arguments) for call in stored.tool_calls]
        yield from (
            ("tool_calls",) if calls != [(c.id, c.name, c.arguments) for c in response.message.tool_calls] else ()
        )
