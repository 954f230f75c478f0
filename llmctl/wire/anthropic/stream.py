"""A stream of server-sent events. https://platform.claude.com/docs/en/build-with-claude/streaming

The grammar is ``message_start``, blocks (``content_block_start``, ``_delta``…, ``_stop``), ``message_delta``,
``message_stop``; only the last ends an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.events import StreamEvent, Unreadable
from llmctl.core.http import ServerEvent
from llmctl.wire.anthropic.errors import stated_error
from llmctl.wire.anthropic.events import Reader
from llmctl.wire.json_body import excerpt_of, object_of


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what the frames say; ``Finish`` only where ``message_stop`` came. Raises the error of an event.

    Kinds of events that nobody here knows are passed over, as the API asks of its clients.
    """
    reader = Reader()
    for event in events:
        chunk = object_of(event.data)
        if chunk is None:
            if event.data.strip():
                yield Unreadable(f'no JSON object: "{excerpt_of(event.data)}"')
            continue
        kind = chunk.get("type")
        if kind == "content_block_delta":
            yield from reader.delta(_place(chunk), _inner(chunk, "delta"))
        elif kind == "content_block_start":
            yield from reader.block(_place(chunk), _inner(chunk, "content_block"))
        elif kind == "message_start":
            yield from reader.start(_inner(chunk, "message"))
        elif kind == "message_delta":
            yield from reader.change(_inner(chunk, "delta"))
            yield from reader.change(chunk)
            yield from reader.count(chunk.get("usage"))
        elif kind == "error" or event.event == "error":
            raise stated_error(chunk)
        elif kind == "message_stop":
            yield from reader.finish()
            return


def _place(chunk: dict[str, Any]) -> int:
    index = chunk.get("index")
    return index if isinstance(index, int) else 0


def _inner(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    value = chunk.get(name)
    return value if isinstance(value, dict) else {}
