"""llmctl: a scriptable hub for language models, in one SQLite file you own.

For programs: ``from llmctl import Hub, Agent, tool``; see :class:`llmctl.hub.Hub`. Importing the package costs
nothing: each name opens its module when it is asked for.
"""

__version__ = "0.1.0"

#: Name -> the module that has it.
_DOOR = {
    "Agent": "agent",
    "AgentSession": "session",
    "Chat": "chat",
    "FunctionTool": "agent",
    "Halt": "agent",
    "Hub": "hub",
    "LlmctlError": "errors",
    "Middleware": "middleware",
    "Response": "response",
    "Stream": "streaming",
    "tool": "agent",
}
__all__ = [*_DOOR, "errors"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmctl import errors as errors
    from llmctl.agent import Agent as Agent
    from llmctl.agent import FunctionTool as FunctionTool
    from llmctl.agent import Halt as Halt
    from llmctl.agent import tool as tool
    from llmctl.chat import Chat as Chat
    from llmctl.errors import LlmctlError as LlmctlError
    from llmctl.hub import Hub as Hub
    from llmctl.middleware import Middleware as Middleware
    from llmctl.response import Response as Response
    from llmctl.session import AgentSession as AgentSession
    from llmctl.streaming import Stream as Stream


def __getattr__(name: str) -> object:
    if name != "errors" and name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "errors":
        return import_module("llmctl.errors")
    found = globals()[name] = getattr(import_module(f"llmctl.{_DOOR[name]}"), name)
    return found
