"""Running things: the only room that starts processes. Knows neither the database nor who asked.

A type of tool is one file with a ``TYPE`` and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmctl.core.http import HttpRequest
from llmctl.core.registry import Registry
from llmctl.core.tools import Ran, Tool

#: Seconds that a tool may take, and bytes of its result that a model gets, where nothing else is said.
TIMEOUT_S = 60.0
MOST_OUTPUT_BYTES = 100_000


class Fetched(Protocol):
    """The answer to an HTTP request, read whole."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Fetch(Protocol):
    """Sends a request; follows no redirect and reads so many bytes of the answer at most."""

    def __call__(self, request: HttpRequest, *, timeout_s: float, most_bytes: int) -> Fetched: ...


class Session(Protocol):
    """Something that stays open between the calls of a turn: a server's connection."""

    def close(self) -> None: ...


class Sessions:
    """What stays open between calls, by key; the first call opens it, the turn's end closes it."""

    def __init__(self) -> None:
        from threading import Lock

        self._lock = Lock()
        self._open: dict[Any, Any] = {}

    def get(self, key: Any, opened: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._open:
                self._open[key] = opened()
            return self._open[key]

    def drop(self, key: Any) -> None:
        """Close and forget what broke: the next call opens it anew."""
        with self._lock:
            session = self._open.pop(key, None)
        if session is not None:
            session.close()

    def close(self) -> None:
        with self._lock:
            sessions, self._open = list(self._open.values()), {}
        for session in sessions:
            session.close()


@dataclass(frozen=True, slots=True)
class Context:
    """What a run is lent: nothing else of the process reaches a tool."""

    #: The environment of programs: an allowlist, and what the tool's data names.
    env: Mapping[str, str]
    #: The working folder.
    folder: str
    fetch: Fetch
    timeout_s: float = TIMEOUT_S
    most_bytes: int = MOST_OUTPUT_BYTES
    #: Takes output as it comes; may be called from any thread.
    log: Callable[[bytes], None] = lambda data: None
    #: The value behind a key reference (``env:VARIABLE``).
    secret: Callable[[str], str] = lambda reference: reference
    #: Real paths that no tool of ours reads: the hub, its keys.
    private: tuple[str, ...] = ()
    #: Says whether a host may be reached at all.
    reaches: Callable[[str], bool] = lambda host: True
    sessions: Sessions = field(default_factory=Sessions)
    #: Ids of the run and of the job it is a part of.
    run_id: str = ""
    job_id: str | None = None
    #: Says whether the run was broken off meanwhile: who is in a thread of this process should stop then.
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Discovered:
    """A tool as its own source describes it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolType:
    """How tools of one type are run. A failure is a :class:`Ran` with an error, or an ``LlmctlError``."""

    #: Run it with arguments that meet its schema.
    run: Callable[[Tool, Mapping[str, Any], Context], Ran]
    #: Check what the user says of a tool; return it as it is kept. Raises UsageError.
    checked: Callable[[Mapping[str, Any]], dict[str, Any]]
    #: Find out what the tools behind some data are; None where only the user can say.
    discover: Callable[[str, Mapping[str, Any], Context], list[Discovered]] | None = None


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
