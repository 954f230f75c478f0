"""Tool runtimes: how a tool of each type is run. The only room that starts processes; it knows no database.

A tool type is one file with a ``TYPE`` and one line in :data:`TYPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmctl.core.http import HttpRequest
from llmctl.core.registry import Registry
from llmctl.core.tools import Ran, Tool

#: Default time limit of a run, and the default size limit of the result that a model gets.
TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 100_000

#: Key of the data of an MCP tool: the name under which its server was added.
SERVER_NAME_KEY = "server_name"


@dataclass(frozen=True, slots=True)
class HttpResult:
    """A complete HTTP response; ``body`` ends one byte after the limit if there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FetchFunction(Protocol):
    """Sends a request. Follows no redirects; reads at most ``most_bytes`` of the body, plus one."""

    def __call__(self, request: HttpRequest, *, timeout_s: float, most_bytes: int) -> HttpResult: ...


class Closeable(Protocol):
    """A resource kept open between the tool calls of a turn, such as a connection to a server."""

    def close(self) -> None: ...


class SessionPool:
    """Resources shared by the tool calls of a turn, by key: opened on first use, closed with the turn."""

    def __init__(self) -> None:
        from threading import Lock

        self._lock = Lock()
        self._open: dict[Any, Any] = {}

    def get(self, key: Any, open_session: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._open:
                self._open[key] = open_session()
            return self._open[key]

    def drop(self, key: Any, session: Closeable) -> None:
        """Close and remove a broken session, unless another call has replaced it; the next call opens a new one."""
        with self._lock:
            if self._open.get(key) is session:
                del self._open[key]
        session.close()

    def close(self) -> None:
        with self._lock:
            sessions, self._open = list(self._open.values()), {}
        for session in sessions:
            session.close()


@dataclass(frozen=True, slots=True)
class Context:
    """All that a run gets from this process."""

    #: Environment of programs: an allowlist plus the variables named in the tool's data.
    env: Mapping[str, str]
    #: Working folder.
    folder: str
    fetch: FetchFunction
    timeout_s: float = TIMEOUT_S
    most_bytes: int = MAX_OUTPUT_BYTES
    #: Receives output as it arrives; may be called from any thread.
    log: Callable[[bytes], None] = lambda data: None
    #: Resolves a key reference (``env:VARIABLE``) to its value.
    secret: Callable[[str], str] = lambda reference: reference
    #: Real paths that built-in tools must not read: the hub, its keys.
    private: tuple[str, ...] = ()
    #: Whether a host may be reached at all (``--offline``).
    reaches: Callable[[str], bool] = lambda host: True
    sessions: SessionPool = field(default_factory=SessionPool)
    #: Ids of the invocation and of the job it belongs to.
    run_id: str = ""
    job_id: str | None = None
    #: Whether the run has been aborted: functions that run in a thread of this process should stop then.
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Discovered:
    """A tool as described by its source."""

    name: str
    description: str
    schema: Mapping[str, Any]
    data: Mapping[str, Any]
    #: Why it cannot be used; None if it can.
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ToolType:
    """How tools of one type are run. A failure is a :class:`Ran` with an error, or a raised ``LlmctlError``."""

    #: Run a tool with arguments that match its schema.
    run: Callable[[Tool, Mapping[str, Any], Context], Ran]
    #: Validate the data of a tool and return it as stored. Raises UsageError.
    checked: Callable[[Mapping[str, Any]], dict[str, Any]]
    #: List the tools behind some data; None if the user has to describe them.
    discover: Callable[[str, Mapping[str, Any], Context], list[Discovered]] | None = None
    #: Return the command line or request that a call runs, for the user to read; None if it has none.
    preview: Callable[[Tool, Mapping[str, Any]], str | None] | None = None


TYPES: Registry[ToolType] = Registry(
    "type of tool",
    "llmctl.tools",
    {
        "command": "command:TYPE",
        "python": "python:TYPE",
        "http": "http:TYPE",
        "mcp": "mcp:TYPE",
        "nextJsScript": "javascript:TYPE",
        "builtin": "builtin:TYPE",
        "function": "function:TYPE",
    },
    group="llmctl.tools",
    wanted=ToolType,
)
