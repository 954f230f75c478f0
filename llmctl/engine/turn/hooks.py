"""What a program hears of a turn, and what it may change before a request. Hearing cannot make a turn fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.engine.turn.result import ToolRun

Observer = Callable[[Any], object]


class Hooks(NamedTuple):
    """Functions of the program around llmctl, each kind in the order they are called in, in the turn's thread."""

    #: Called before every request of a turn; each may return another one. What it raises ends the turn, unsent.
    before_request: tuple[Callable[[ChatRequest], ChatRequest | None], ...] = ()
    #: Called with every complete answer of a model.
    after_response: tuple[Observer, ...] = ()
    tool_start: tuple[Observer, ...] = ()
    tool_end: tuple[Observer, ...] = ()
    error: tuple[Observer, ...] = ()

    def asked(self, request: ChatRequest) -> ChatRequest:
        """Return what will be asked."""
        for change in self.before_request:
            request = change(request) or request
        return request

    def answered(self, response: ChatResponse) -> None:
        tell(self.after_response, response)

    def started(self, run: ToolRun) -> None:
        tell(self.tool_start, run)

    def ended(self, run: ToolRun) -> None:
        tell(self.tool_end, run)

    def failed(self, error: BaseException) -> None:
        tell(self.error, error)


def tell(observers: Iterable[Observer], what: object) -> None:
    """Call each; one that raises is written to the log of the name ``llmctl``, and nothing else comes of it."""
    for observer in observers:
        try:
            observer(what)
        except Exception:
            import logging  # nobody needs it until something went wrong

            logging.getLogger("llmctl").exception("a hook failed; the turn goes on")
