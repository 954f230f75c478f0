"""An answer that comes event by event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.events import StreamEvent, Unreadable
from llmctl.core.http import ServerEvent
from llmctl.wire.json_body import excerpt_of, object_of
from llmctl.wire.openai_responses.events import Reader
from llmctl.wire.refusals import error_of, stated_error


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what the events say, up to the one that holds the finished response; unknown ones are passed over.

    The type of an event stands in its JSON: not all hosts name it on a line of its own. Raises the error that an
    event carries, after what else it says.
    """
    reader = Reader()
    for event in events:
        data = event.data
        if data[:6] == "[DONE]":
            return
        chunk = object_of(data)
        if chunk is None:
            if event.event == "error":
                raise error_of(data)
            if data.strip():
                yield Unreadable(f'no JSON object: "{excerpt_of(data)}"')
            continue
        kind = chunk.get("type", event.event)
        if kind == "error" or (kind is None and stated_error(chunk)):
            raise error_of(chunk)
        yield from reader.read(str(kind), chunk)
        if reader.has_ended:
            yield reader.ending()
            return
