"""llmctl: a scriptable hub for language models, in one SQLite file you own.

For programs: ``from llmctl import Hub, Agent, tool``; see :class:`llmctl.api.hub.Hub`. Importing the package is
free: each name imports its module on first use.
"""

__version__ = "0.1.0"

#: Name -> the module that defines it.
_EXPORTS = {
    "Agent": "api.agent",
    "AgentSession": "api.agent_session",
    "ApprovalNeeded": "api.events",
    "AsyncStream": "api.async_stream",
    "Chat": "api.chat",
    "FunctionTool": "api.agent",
    "Halt": "api.agent",
    "Hub": "api.hub",
    "LlmctlError": "errors",
    "Middleware": "api.middleware",
    "Notice": "api.events",
    "Response": "api.response",
    "RetryScheduled": "api.events",
    "StepStarted": "api.events",
    "Stream": "api.stream",
    "TextDelta": "api.events",
    "ThinkingDelta": "api.events",
    "ToolCallDelta": "api.events",
    "ToolEvent": "api.events",
    "tool": "api.agent",
}
__all__ = [*_EXPORTS, "errors"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmctl import errors as errors
    from llmctl.api.agent import Agent as Agent
    from llmctl.api.agent import FunctionTool as FunctionTool
    from llmctl.api.agent import Halt as Halt
    from llmctl.api.agent import tool as tool
    from llmctl.api.agent_session import AgentSession as AgentSession
    from llmctl.api.async_stream import AsyncStream as AsyncStream
    from llmctl.api.chat import Chat as Chat
    from llmctl.api.events import ApprovalNeeded as ApprovalNeeded
    from llmctl.api.events import Notice as Notice
    from llmctl.api.events import RetryScheduled as RetryScheduled
    from llmctl.api.events import StepStarted as StepStarted
    from llmctl.api.events import TextDelta as TextDelta
    from llmctl.api.events import ThinkingDelta as ThinkingDelta
    from llmctl.api.events import ToolCallDelta as ToolCallDelta
    from llmctl.api.events import ToolEvent as ToolEvent
    from llmctl.api.hub import Hub as Hub
    from llmctl.api.middleware import Middleware as Middleware
    from llmctl.api.response import Response as Response
    from llmctl.api.stream import Stream as Stream
    from llmctl.errors import LlmctlError as LlmctlError


#: What a system without file locks and signals is told.
UNSUPPORTED_SYSTEM = "llmctl runs on POSIX systems such as Linux and macOS, not on Windows (WSL works)"


def __getattr__(name: str) -> object:
    if name != "errors" and name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys
    from importlib import import_module

    if sys.platform == "win32":
        raise ImportError(UNSUPPORTED_SYSTEM)
    if name == "errors":
        return import_module("llmctl.errors")
    found = globals()[name] = getattr(import_module(f"llmctl.{_EXPORTS[name]}"), name)
    return found
