"""The stream of generateContent: chunks without types and without an end marker.

The chunk with a finish reason is the terminal event; without one the stream was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import Finish, StreamEvent, Unreadable
from llmctl.core.http import ServerEvent
from llmctl.wire.gemini.events import Reader
from llmctl.wire.json_body import excerpt_of, object_of
from llmctl.wire.refusals import error_of, stated_error


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what the chunks say; ``Finish`` when a reason came, again where a later chunk names another.

    Reading goes on after it: a connection that breaks then loses nothing. Raises the error that a chunk carries,
    after what else it says; an IncompleteError after the end where the model's answer was of no use.
    """
    reader = Reader()
    finish: Finish | None = None
    source = iter(events)
    while (event := _next(source, ended=finish is not None)) is not None:
        chunk = object_of(event.data)
        if chunk is None:
            if event.event == "error":
                raise error_of(event.data)
            if event.data.strip() not in ("", "[DONE]"):
                yield Unreadable(f'no JSON object: "{excerpt_of(event.data)}"')
            continue
        yield from reader.read(chunk)
        if error := stated_error(chunk):
            raise error
        if reader.finish_reason is not None and (found := reader.finish()) != finish:
            finish = found
            yield found
    if finish and (failure := reader.failure()):
        raise failure


def _next(source: Iterator[ServerEvent], *, ended: bool) -> ServerEvent | None:
    try:
        return next(source, None)
    except UnavailableError:
        if not ended:
            raise
        return None
