"""Answers of Anthropic's Messages API, for the loopback server of :mod:`tests.fakes.openai_server`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.fakes.openai_server import Reply, Step, event, json_reply

MODEL = "claude-haiku-4-5-20251001"
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 1,
}


def frame(kind: str, **fields: Any) -> bytes:
    """Return one event, named and typed as the API does."""
    return event({"type": kind, **fields}, kind)


def start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    return frame("message_start", message={**message, "stop_reason": None, "usage": {**USAGE, **usage}})


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[Step]:
    """Return the events of a block: start, deltas and stop."""
    pieces = [frame("content_block_delta", index=index, delta=delta) for delta in deltas]
    return [
        frame("content_block_start", index=index, content_block=content),
        *pieces,
        frame("content_block_stop", index=index),
    ]


def text(index: int, *pieces: str) -> list[Step]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def thinking(index: int, words: str, signature: str) -> list[Step]:
    pieces = [{"type": "thinking_delta", "thinking": words}, {"type": "signature_delta", "signature": signature}]
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *pieces)


def call(index: int, id: str, name: str, *pieces: str) -> list[Step]:
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces))
    return block(index, {"type": "tool_use", "id": id, "name": name, "input": {}}, *deltas)


def end(reason: str = "end_turn", **usage: Any) -> list[Step]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [frame("message_delta", delta=delta, usage={"output_tokens": 50, **usage}), frame("message_stop")]


def failure(kind: str, message: str) -> bytes:
    """Return the event of an error inside a stream."""
    return frame("error", error={"type": kind, "message": message}, request_id="req_1")


def stream(*steps: Iterable[Step]) -> Reply:
    """Return a streamed answer with these blocks."""
    every = [start(), frame("ping"), *(step for some in steps for step in some)]
    return Reply(200, {"content-type": "text/event-stream", "request-id": "req_1"}, tuple(every), chunked=True)


def refusal(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error in the format of the API."""
    return json_reply(status, {"type": "error", "error": {"type": kind, "message": message}}, headers)
