"""Allowed calls at work: claimed, run side by side, their output logged, their results made rows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.engine.jobs import recovery
from llmctl.engine.tools import records
from llmctl.engine.tools.authorize import Call
from llmctl.engine.tools.context import Lender
from llmctl.engine.tools.output_log import PIECE_S, ToolLog
from llmctl.engine.tools.records import Ending
from llmctl.engine.tools.run_pool import MOST_AT_ONCE, Output, Run, Running
from llmctl.engine.tools.suspend import Parked
from llmctl.engine.tools.toolset import Tools
from llmctl.engine.turn.options import Surroundings
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.database import Database
from llmctl.store.records import invocations
from llmctl.store.writes import Update, Write
from llmctl.tools import process

#: Seconds between two looks at the clock while tools run.
_LOOK_S = 0.5
#: Seconds that agents which were asked get to write down where they stopped.
_GRACE_S = 1.0


class Workbench:
    """Where the tools of one job run. It claims rows itself; all other writes are the caller's to commit."""

    def __init__(
        self,
        database: Database,
        job_id: str,
        around: Surroundings,
        tools: Tools,
        *,
        secrets: Iterable[str] = (),
        timeout_s: float | None = None,
        keeps_rows: bool = True,
        keeps_logs: bool = True,
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._tools = tools
        self._secrets = tuple(secrets)
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._keeps_rows = keeps_rows
        self._keeps_logs = keeps_logs
        self._lender = Lender(around, database.path)
        self._running = Running()
        self._logs: dict[str, ToolLog] = {}
        self._hidden = False

    def run(self, calls: Iterable[Call], before_start: Callable[[], None] = lambda: None) -> Iterator[list[Write]]:
        """Run the allowed ones; yield, as they come, the writes of what was printed and of what ended.

        ``before_start`` may raise what keeps more from being started. Raises UnavailableError where the time of the
        whole is over.
        """
        by_id = {call.id: call for call in calls}
        queue = deque(call for call in by_id.values() if call.is_allowed)
        if queue and not self._hidden:
            process.hide()
            self._hidden = True
        while queue or len(self._running):
            batch = [queue.popleft() for _ in range(min(len(queue), MOST_AT_ONCE - len(self._running)))]
            if batch:
                before_start()
                self._start(batch)
            yield self._reported(by_id)

    def break_off(self) -> list[Write]:
        """End what still runs; return the writes that say so."""
        running = self._running.runs
        if running:
            if not self._running.end(_GRACE_S):
                recovery.leave_parts(self._database, self._job_id)
            process.kill_all()
        logs = [write for log in self._logs.values() for write in log.writes(is_end=True)]
        return logs + [_broken_off(run) for run in running]

    def finished(self, call: Call, more: dict[str, Any], status: str) -> Write:
        """Return what finishes the row of a call that has that status."""
        assert call.ending
        now = clock.now()
        changes = {
            "status": call.ending.status,
            "result": call.ending.text,
            "error": call.ending.error,
            "exit_status": call.ending.exit_status,
            "halts": int(call.ending.halts),
            "finished_at": now,
            "updated_at": now,
        }
        return Update("tool_invocations", call.id, changes | more, {"status": status})

    def close(self) -> None:
        """Close what tools left open for each other."""
        self._lender.sessions.close()

    def _reported(self, by_id: dict[str, Call]) -> list[Write]:
        writes: list[Write] = []
        wait_s = PIECE_S if self._logs else _LOOK_S
        for report in self._running.reports(wait_s) if len(self._running) else ():
            if isinstance(report, Output):
                if self._keeps_logs:
                    self._log(report.run.id).add(report.data)
            else:
                writes += self._ended(by_id[report.run.id], report.run)
        return writes + [write for log in self._logs.values() if log.due() for write in log.writes()]

    def _start(self, batch: list[Call]) -> None:
        remaining_s = self._remaining()
        if self._keeps_rows:
            self._claim(batch)
        for call in batch:
            if call.ending is None:
                self._begin(call, remaining_s)

    def _claim(self, batch: list[Call]) -> None:
        """Take calls before they run; one that somebody else decided meanwhile ends as they said."""
        with self._database.transaction():
            for call in batch:
                tool_id = call.tool.id if call.tool else None
                if invocations.claim(
                    self._database, call.id, decision=call.decision, tool_id=tool_id, job_id=self._job_id
                ):
                    continue
                call.row = invocations.get(self._database, call.id)
                call.ending = records.ending_of(call.row)

    def _begin(self, call: Call, remaining_s: float | None) -> None:
        assert call.tool
        if self._tools.on_start:
            self._tools.on_start(records.run_of(call.row))
        run = Run(call.id, call.tool, call.arguments)
        try:
            lent = self._lender.context(call.tool, self._running.log(call.id), remaining_s)
            run.context = replace(lent, run_id=call.id, job_id=self._job_id, is_over=lambda: self._running.is_over)
        except LlmctlError as error:
            self._running.refuse(run, error)
        else:
            self._running.start(run)

    def _remaining(self) -> float | None:
        if self._deadline is None:
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise UnavailableError(f"no answer within {self._timeout_s:g} s", reason="timeout")
        return remaining

    def _ended(self, call: Call, run: Run) -> list[Write]:
        """Take a run's result in; return what finishes its row and its log, or makes it wait again."""
        if isinstance(run.result, Parked):
            call.parked = run.result.why
            return [_waiting_again(run)]
        call.ending = self._ending(call, run)
        log = self._logs.pop(call.id, None)
        if self._tools.on_end:
            self._tools.on_end(records.run_of(call.row, call.ending))
        duration = {"duration": clock.elapsed_ms(run.begun)}
        return [*(log.writes(is_end=True) if log else []), self.finished(call, duration, "running")]

    def _ending(self, call: Call, run: Run) -> Ending:
        name, result, strike = call.row["name"], run.result, self._redaction.text
        assert result is not None
        if isinstance(result, LlmctlError):
            call.problem = result
            status = "denied" if result.reason == "confined" else "failed"
            message = strike(result.message)
            return Ending(status, records.failed_text(name, message), message)
        text = strike(result.content)
        if result.error is not None:
            return Ending("failed", records.failed_text(name, text), strike(result.error), result.exit_status)
        return Ending("completed", text, None, result.exit_status, result.halts)

    def _log(self, id: str) -> ToolLog:
        if id not in self._logs:
            self._logs[id] = ToolLog(id, self._redaction)
        return self._logs[id]

    @property
    def _redaction(self) -> Redaction:
        return Redaction((*self._secrets, *self._lender.secrets))


def _waiting_again(run: Run) -> Write:
    return Update("tool_invocations", run.id, {"status": "pending", "updated_at": clock.now()}, {"status": "running"})


def _broken_off(run: Run) -> Write:
    """Return what says that a run was broken off. Agents are gone on with, where they stopped."""
    if run.tool.data.get("lends"):
        return _waiting_again(run)
    now = clock.now()
    ended = {"status": "cancelled", "error": "interrupted", "finished_at": now, "updated_at": now}
    return Update("tool_invocations", run.id, ended, {"status": "running"})
