"""The bytes of an echo: OpenAI's server-sent events, or one JSON document, with the trouble asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.stored_json import dumps
from llmctl.providers.echo.answer import Delta, Script
from llmctl.providers.echo.errors import failure
from llmctl.providers.echo.options import EchoOptions

Sleep = Callable[[float], object]

_UNREADABLE = b'{"id":"chatcmpl-echo","choices":[{"index":0,"delta":{"content":"un'
_DONE = b"data: [DONE]\n\n"


class _Ended(Exception):
    """The stream is over before its terminal event."""


def events(script: Script, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer event by event: one word each, then finish reason, usage and ``[DONE]``.

    Raises UnavailableError where the connection shall drop.
    """
    head = _head(script, "chat.completion.chunk")
    before, after = f'data: {head},"choices":[{{"index":0,"delta":', ',"finish_reason":null}]}\n\n'
    trouble = _Trouble(options, len(script.deltas), sleep)
    try:
        yield from trouble.at(0)
        yield (before + dumps({"role": "assistant", "content": ""}) + after).encode()
        for number, delta in enumerate(script.deltas, start=1):
            if options.delay:
                sleep(options.delay)
            yield (before + dumps(delta) + after).encode()
            yield from trouble.at(number)
    except _Ended:
        return
    yield f'{before}{{}},"finish_reason":"{script.finish_reason}"}}]}}\n\n'.encode()
    if script.usage is not None:
        yield f'data: {head},"choices":[],"usage":{dumps(script.usage)}}}\n\n'.encode()
    yield _DONE


def document(script: Script, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer as one JSON document, or the part of it that comes before the trouble."""
    choice = {"index": 0, "message": _message(script.deltas), "finish_reason": script.finish_reason}
    usage = f',"usage":{dumps(script.usage)}' if script.usage is not None else ""
    body = f'{_head(script, "chat.completion")},"choices":[{dumps(choice)}]{usage}}}'.encode()
    sleep(options.stall + options.delay * len(script.deltas))
    if options.cut == 0 or options.end == 0:
        body = b""
    elif options.cut is not None or options.end is not None:
        body = body[: len(body) // 2]
    elif options.garbage is not None:
        body = _UNREADABLE
    elif options.error is not None:
        body = (options.fail or failure("502")).body()
    if body:
        yield body
    if options.cut is not None:
        raise _dropped()


class _Trouble:
    """What goes wrong, by the number of words said before. Places beyond the last word are after it."""

    def __init__(self, options: EchoOptions, words: int, sleep: Sleep) -> None:
        self._options = options
        self._sleep = sleep
        names = ("after", "cut", "end", "error", "garbage")
        places = {name: getattr(options, name) for name in names}
        self._places = {name: min(place, words) for name, place in places.items() if place is not None}

    def at(self, said: int) -> Iterator[bytes]:
        """Yield the bytes that come in after so many words; raises where nothing more comes."""
        here = [name for name, place in self._places.items() if place == said]
        if not here:
            return
        if "after" in here and self._options.stall:
            self._sleep(self._options.stall)
        if "garbage" in here:
            yield b"data: " + _UNREADABLE + b"\n\n"
        if "cut" in here:
            raise _dropped()
        if "error" in here:
            yield b"data: " + (self._options.fail or failure("502")).body() + b"\n\n"
        if "error" in here or "end" in here:
            raise _Ended


def _dropped() -> UnavailableError:
    return UnavailableError("the connection was cut", reason="cut", hint="echo was told so with -o cut=N")


def _head(script: Script, kind: str) -> str:
    return f'{{"id":"{script.id}","object":"{kind}","created":0,"model":{dumps(script.model)}'


def _message(deltas: Any) -> dict[str, Any]:
    """Fold deltas into the message of a document."""
    message: dict[str, Any] = {"role": "assistant", "content": _joined(deltas, "content")}
    if thinking := _joined(deltas, "reasoning_content"):
        message["reasoning_content"] = thinking
    calls: dict[int, Delta] = {}
    for piece in (delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta):
        if "id" in piece:
            kept = {name: piece[name] for name in ("id", "type")}
            calls[piece["index"]] = kept | {"function": dict(piece["function"])}
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    if calls:
        message["tool_calls"] = list(calls.values())
    return message


def _joined(deltas: Any, name: str) -> str | None:
    words = [delta[name] for delta in deltas if name in delta]
    return "".join(words) if words else None
