"""Middleware: hooks that run around the requests and tools of a chat."""

from __future__ import annotations

# No imports: every process that runs a tool of an agent class imports this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmctl.core.chat import ChatRequest, ChatResponse
    from llmctl.engine.runtime import ToolEvent

#: Names of the hook methods.
HOOKS = ("before_request", "after_response", "on_tool_start", "on_tool_end", "on_error")


class Middleware:
    """Derive from it and override the hooks you need; the others do nothing.

    Requests pass the hub's middlewares first, then the chat's; answers, tools and errors in reverse order. Hooks run
    in the thread of the turn. An exception in ``before_request`` ends the turn before anything is sent; in other hooks
    it is logged to the logger ``llmctl``, and the turn continues.
    """

    def before_request(self, request: ChatRequest) -> ChatRequest | None:
        """Return a changed request (``dataclasses.replace``) or None to keep it; called before each step of a turn."""
        return None

    def after_response(self, response: ChatResponse) -> object:
        """Called with a complete answer, after it was stored."""
        return None

    def on_tool_start(self, run: ToolEvent) -> object:
        """Called before a tool runs."""
        return None

    def on_tool_end(self, run: ToolEvent) -> object:
        """Called after a tool ended, with ``run.status`` and ``run.result``."""
        return None

    def on_error(self, error: BaseException) -> object:
        """Called with the error that ended a turn."""
        return None
