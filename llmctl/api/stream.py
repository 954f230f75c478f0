"""A streamed answer: pieces of text, or all events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from llmctl.api.response import Response, to_response
from llmctl.core.chat import TextDelta
from llmctl.engine.runtime import Notice, TurnEvent
from llmctl.engine.turn.state import TurnResult

if TYPE_CHECKING:  # only for asynchronous streams
    from llmctl.core.interrupt import Interrupt


@dataclass(slots=True)
class StreamState:
    """State of a turn. The turn refers to it instead of the stream, so that an unused stream is collected at once."""

    result: TurnResult = field(default_factory=TurnResult)
    notes: list[str] = field(default_factory=list)
    #: Stops the turn from another thread, where another thread runs it.
    interrupt: Interrupt | None = None


class Stream:
    """Iterate over it for the text, or over :meth:`events` for everything; :attr:`response` is the result.

    Each piece is in the hub before you get it. Nothing is sent before the first piece is requested. To stop early,
    close it: ``with chat.stream(...) as stream`` does, as do :meth:`close`, closing the hub and the garbage collector;
    the text so far is stored as an interrupted answer. In a turn with tools the text of every step is streamed.
    """

    def __init__(
        self, run: Callable[[StreamState], Generator[TurnEvent, None, None]], interrupt: Interrupt | None = None
    ) -> None:
        self._state = StreamState(interrupt=interrupt)
        self._events = run(self._state)

    @property
    def response(self) -> Response:
        """The result of the turn; before its end, the result so far."""
        return to_response(self._state.result, tuple(self._state.notes))

    def events(self) -> Iterator[TurnEvent]:
        """Yield all events: ``StepStarted``, ``TextDelta``, ``ThinkingDelta``, ``ToolEvent``, ``ApprovalNeeded`` …

        Their classes are names of ``llmctl``: ``isinstance(event, llmctl.TextDelta)``.
        """
        for event in self._events:
            if isinstance(event, Notice):
                self._state.notes.append(event.text)
            yield event

    def __iter__(self) -> Iterator[str]:
        return (event.text for event in self.events() if isinstance(event, TextDelta))

    def __next__(self) -> str:
        return next(iter(self))

    @property
    def turn(self) -> Generator[TurnEvent, None, None]:
        """The turn itself, which outlives the stream until somebody closes it."""
        return self._events

    def close(self) -> None:
        """Interrupt the turn if it is still running, and finish its rows."""
        with suppress(ValueError):  # another thread is running it
            self._events.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
