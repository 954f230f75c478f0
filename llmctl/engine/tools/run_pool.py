"""Tools that run at the same time, each in a thread of its own. Threads only report; rows are the main thread's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError, UnavailableError
from llmctl.core.signals import deaf
from llmctl.core.tools import Ran, Tool
from llmctl.tools import TYPES, Context
from llmctl.tools.subprocess_tool import seconds

#: Tools at work at once; others wait their turn.
MOST_AT_ONCE = 16

#: Seconds over its time that a tool gets to give up by itself, before it is left behind.
_GRACE_S = 2.0


@dataclass(slots=True)
class Run:
    """One run: what is run, and what has come of it."""

    id: str
    tool: Tool
    arguments: dict[str, Any]
    #: None where it never began.
    context: Context | None = None
    begun: float = field(default_factory=time.monotonic)
    result: Ran | LlmctlError | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a tool printed."""

    run: Run
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A run is over; ``run.result`` says how."""

    run: Run


class Running:
    """The runs at work."""

    def __init__(self) -> None:
        self._reports: SimpleQueue[tuple[Run, Any]] = SimpleQueue()
        self._runs: dict[str, Run] = {}
        #: What runs in our threads should stop.
        self.is_over = False

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(self._runs.values())

    def log(self, id: str) -> Callable[[bytes], None]:
        """Return what takes the output of a run."""
        return lambda data: self._reports.put((self._runs[id], data)) if id in self._runs else None

    def start(self, run: Run) -> None:
        self._runs[run.id] = run
        thread = Thread(target=self._work, args=(run,), daemon=True)
        with deaf():
            thread.start()

    def refuse(self, run: Run, error: LlmctlError) -> None:
        """Report a run that cannot begin as one that failed."""
        self._runs[run.id] = run
        self._reports.put((run, error))

    def end(self, grace_s: float) -> bool:
        """Ask those that can be asked to stop, and wait for them so long; return whether they have."""
        self.is_over = True
        until = time.monotonic() + grace_s
        while any(run.tool.data.get("lends") for run in self.runs):
            if time.monotonic() >= until:
                return False
            self.reports(0.01)
        return True

    def reports(self, wait_s: float) -> list[Output | Ended]:
        """Return what was reported, after at most so many seconds. A bug of ours in a tool is raised here."""
        found: list[Output | Ended] = []
        try:
            report = self._reports.get(timeout=wait_s)
            while True:
                found += self._read(*report)
                report = self._reports.get_nowait()
        except Empty:
            return found + self._overdue()

    def _read(self, run: Run, report: Any) -> list[Output | Ended]:
        if self._runs.get(run.id) is not run:
            return []  # left behind before
        if isinstance(report, bytes):
            return [Output(run, report)]
        if isinstance(report, BaseException) and not isinstance(report, LlmctlError):
            raise report
        run.result = report
        del self._runs[run.id]
        return [Ended(run)]

    def _overdue(self) -> list[Output | Ended]:
        """Leave behind what neither ends nor gives up."""
        now = time.monotonic()
        late = [run for run in self._runs.values() if now > run.begun + _limit(run) + _GRACE_S]
        for run in late:
            run.result = UnavailableError(f"no result within {seconds(_limit(run))}", reason="timeout")
            del self._runs[run.id]
        return [Ended(run) for run in late]

    def _work(self, run: Run) -> None:
        assert run.context
        try:
            result: Any = TYPES.load(run.tool.type).run(run.tool, run.arguments, run.context)
        except LlmctlError as error:
            result = error
        except OSError as error:  # what the system refuses is no bug of ours
            result = RejectedError((error.strerror or str(error)).lower())
        except BaseException as error:
            self._reports.put((run, error))
            raise
        self._reports.put((run, result))


def _limit(run: Run) -> float:
    return run.context.timeout_s if run.context else 0.0
