"""An answer as it comes: pieces of text, or all events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from llmctl.api.response import Response, response_of
from llmctl.core.events import TextDelta
from llmctl.engine.turn.result import Note, Outcome, TurnEvent


@dataclass(slots=True)
class Course:
    """How a turn goes. The turn knows this and not its stream, so that a stream nobody holds any more ends at once."""

    outcome: Outcome = field(default_factory=Outcome)
    notes: list[str] = field(default_factory=list)


class Stream:
    """Iterate over it for the text as it comes, or over :meth:`events` for all; then ask for the :attr:`response`.

    Each piece is in the hub before you get it. Nothing is sent before the first piece is asked for. Whoever stops
    early closes it: ``with chat.stream(...) as stream`` does, so do :meth:`close`, the end of the hub and, at the
    latest, the garbage collector; what came by then stays, as an answer that was interrupted. In a turn with tools
    the text of every step comes.
    """

    def __init__(self, run: Callable[[Course], Generator[TurnEvent, None, None]]) -> None:
        self._course = Course()
        self._running = run(self._course)

    @property
    def response(self) -> Response:
        """What the turn came to; before its end, what it has come to so far."""
        return response_of(self._course.outcome, tuple(self._course.notes))

    def events(self) -> Iterator[TurnEvent]:
        """Yield what happens: ``Started``, ``TextDelta``, ``ThinkingDelta``, ``ToolRun``, ``Pending``, ``Waiting`` …"""
        for event in self._running:
            if isinstance(event, Note):
                self._course.notes.append(event.text)
            yield event

    def __iter__(self) -> Iterator[str]:
        return (event.text for event in self.events() if isinstance(event, TextDelta))

    def __next__(self) -> str:
        return next(iter(self))

    def close(self) -> None:
        """Break it off, if it is not at its end; its rows are finished then."""
        with suppress(ValueError):  # another thread is just in the middle of it
            self._running.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
