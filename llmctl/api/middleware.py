"""What looks on while a chat talks: one object for all its hooks."""

from __future__ import annotations

# Nothing is imported here: a file with an agent's class is opened by every process that runs one of its tools.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmctl.core.chat import ChatRequest, ChatResponse
    from llmctl.engine.turn.result import ToolRun

#: The methods that are hooks.
HOOKS = ("before_request", "after_response", "on_tool_start", "on_tool_end", "on_error")


class Middleware:
    """Derive from it and define what you need; the rest does nothing.

    Requests pass the hub's middlewares first, then the chat's; answers, tools and errors pass them the other way
    round. All are called in the thread that asks. What ``before_request`` raises ends the turn before anything is
    sent; the others only hear: what they raise goes to the log of the name ``llmctl``, and the turn goes on.
    """

    def before_request(self, request: ChatRequest) -> ChatRequest | None:
        """Return another request (``dataclasses.replace``), or None to leave it; called before each step of a turn."""
        return None

    def after_response(self, response: ChatResponse) -> object:
        """Hear of a complete answer, when it is in the hub."""
        return None

    def on_tool_start(self, run: ToolRun) -> object:
        """Hear of a tool that is about to run."""
        return None

    def on_tool_end(self, run: ToolRun) -> object:
        """Hear of a tool that ended; ``run.status`` and ``run.result`` say how."""
        return None

    def on_error(self, error: BaseException) -> object:
        """Hear of what ended a turn."""
        return None
