"""Encode an echo reply as OpenAI's server-sent events or as one JSON document, with the requested faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.stored_json import dumps
from llmctl.providers.echo.answer import Delta, EchoReply
from llmctl.providers.echo.errors import find_error
from llmctl.providers.echo.options import EchoOptions

Sleep = Callable[[float], object]

_UNREADABLE = b'{"id":"chatcmpl-echo","choices":[{"index":0,"delta":{"content":"un'
_DONE = b"data: [DONE]\n\n"


class _StreamEnded(Exception):
    """The stream ends before its terminal event."""


def stream_reply(reply: EchoReply, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer event by event: one word each, then finish reason, usage and ``[DONE]``.

    Raises UnavailableError if the connection is to be cut.
    """
    head = _response_head(reply, "chat.completion.chunk")
    before, after = f'data: {head},"choices":[{{"index":0,"delta":', ',"finish_reason":null}]}\n\n'
    faults = _FaultInjection(options, len(reply.deltas), sleep)
    try:
        yield from faults.at(0)
        yield (before + dumps({"role": "assistant", "content": ""}) + after).encode()
        for number, delta in enumerate(reply.deltas, start=1):
            if options.delay:
                sleep(options.delay)
            yield (before + dumps(delta) + after).encode()
            yield from faults.at(number)
    except _StreamEnded:
        return
    yield f'{before}{{}},"finish_reason":"{reply.finish_reason}"}}]}}\n\n'.encode()
    if reply.usage is not None:
        yield f'data: {head},"choices":[],"usage":{dumps(reply.usage)}}}\n\n'.encode()
    yield _DONE


def document(reply: EchoReply, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer as one JSON document, or the part before a fault."""
    choice = {"index": 0, "message": _join_message(reply.deltas), "finish_reason": reply.finish_reason}
    usage = f',"usage":{dumps(reply.usage)}' if reply.usage is not None else ""
    body = f'{_response_head(reply, "chat.completion")},"choices":[{dumps(choice)}]{usage}}}'.encode()
    sleep(options.stall + options.delay * len(reply.deltas))
    if options.cut == 0 or options.end == 0:
        body = b""
    elif options.cut is not None or options.end is not None:
        body = body[: len(body) // 2]
    elif options.garbage is not None:
        body = _UNREADABLE
    elif options.error is not None:
        body = (options.fail or find_error("502")).body()
    if body:
        yield body
    if options.cut is not None:
        raise _cut_error()


class _FaultInjection:
    """Faults by the number of words sent before them. Positions beyond the last word come after it."""

    def __init__(self, options: EchoOptions, words: int, sleep: Sleep) -> None:
        self._options = options
        self._sleep = sleep
        names = ("after", "cut", "end", "error", "garbage")
        places = {name: getattr(options, name) for name in names}
        self._places = {name: min(place, words) for name, place in places.items() if place is not None}

    def at(self, words_sent: int) -> Iterator[bytes]:
        """Yield the faulty bytes due after so many words; raise if the stream ends there."""
        here = [name for name, place in self._places.items() if place == words_sent]
        if not here:
            return
        if "after" in here and self._options.stall:
            self._sleep(self._options.stall)
        if "garbage" in here:
            yield b"data: " + _UNREADABLE + b"\n\n"
        if "cut" in here:
            raise _cut_error()
        if "error" in here:
            yield b"data: " + (self._options.fail or find_error("502")).body() + b"\n\n"
        if "error" in here or "end" in here:
            raise _StreamEnded


def _cut_error() -> UnavailableError:
    return UnavailableError("the connection was cut", reason="cut", hint="simulated by -o cut=N")


def _response_head(reply: EchoReply, kind: str) -> str:
    return f'{{"id":"{reply.id}","object":"{kind}","created":0,"model":{dumps(reply.model)}'


def _join_message(deltas: Any) -> dict[str, Any]:
    """Join the deltas into one message."""
    message: dict[str, Any] = {"role": "assistant", "content": _join_words(deltas, "content")}
    if thinking := _join_words(deltas, "reasoning_content"):
        message["reasoning_content"] = thinking
    calls: dict[int, Delta] = {}
    for piece in (delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta):
        if "id" in piece:
            call = {name: piece[name] for name in ("id", "type")}
            calls[piece["index"]] = call | {"function": dict(piece["function"])}
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    if calls:
        message["tool_calls"] = list(calls.values())
    return message


def _join_words(deltas: Any, name: str) -> str | None:
    words = [delta[name] for delta in deltas if name in delta]
    return "".join(words) if words else None
