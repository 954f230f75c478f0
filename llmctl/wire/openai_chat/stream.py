"""A streamed answer: frames to events, and the one judgement whether the answer is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import Finish, StreamEvent, Unreadable
from llmctl.core.http import ServerEvent
from llmctl.wire.json_body import excerpt_of, object_of
from llmctl.wire.openai_chat.errors import error_in
from llmctl.wire.openai_chat.events import Reader
from llmctl.wire.refusals import error_of


def parse_stream(events: Iterable[ServerEvent], dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what the frames say; ``Finish`` only where the dialect's terminal condition is met.

    Ends at ``[DONE]``. Where the finish reason is terminal, reading goes on after it (usage may follow), and a
    connection that breaks then loses nothing. Raises the error that an event carries, after what else it says.
    """
    ending = _Ending(dialect)
    reader = Reader(dialect)
    for event in _until_cut(events, ending):
        data = event.data
        if data[:6] == "[DONE]":
            yield from ending.marked(reader)
            return
        chunk = object_of(data)
        if event.event == "error":
            raise error_of(data if chunk is None else chunk)
        if chunk is None:
            if data.strip():
                yield Unreadable(f'no JSON object: "{excerpt_of(data)}"')
            continue
        yield from reader.read(chunk)
        if error := error_in(chunk):
            raise error
        if reader.finish_reason is not None:
            yield from ending.named(reader)


class _Ending:
    """Whether the terminal event came."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.finish: Finish | None = None

    def marked(self, reader: Reader) -> Iterator[Finish]:
        """``[DONE]`` came."""
        if self.finish is None and (reader.finish_reason or self._dialect.finish_reason_optional):
            yield reader.finish()

    def named(self, reader: Reader) -> Iterator[Finish]:
        """A finish reason has come, perhaps again."""
        if not self._dialect.done_marker and self.finish != (finish := reader.finish()):
            self.finish = finish
            yield finish


def _until_cut(events: Iterable[ServerEvent], ending: _Ending) -> Iterator[ServerEvent]:
    try:
        yield from events
    except UnavailableError:
        if ending.finish is None:
            raise
