"""What happens to the tool calls of a model: vetted, run side by side, written down, told in the order they came.

Whoever gets here goes on from the rows, so that a turn that stopped at a permission, or died, is gone on with by any
process: what has ended is told, what was allowed runs once, what nobody decided waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, PendingError, UnavailableError
from llmctl.core.messages import Message
from llmctl.engine import toolcalls, vetting
from llmctl.engine.lending import Lender
from llmctl.engine.outcome import Outcome, Pending, ToolRun, TurnEvent
from llmctl.engine.plan import Plan
from llmctl.engine.recorder import Recorder
from llmctl.engine.redaction import Redaction
from llmctl.engine.running import MOST_AT_ONCE, Output, Run, Running
from llmctl.engine.staging import Staged, message_writes
from llmctl.engine.toolcalls import Ending
from llmctl.engine.toollog import PIECE_S, ToolLog
from llmctl.engine.vetting import Call
from llmctl.store import invocations
from llmctl.store.database import Database, Row
from llmctl.store.writes import Update, Write
from llmctl.tools import process

#: Seconds between two looks at the clock while tools run.
_LOOK_S = 0.5


class Toolbox:
    """The tools of one turn at work."""

    def __init__(
        self,
        database: Database,
        plan: Plan,
        staged: Staged,
        recorder: Recorder,
        outcome: Outcome,
        secrets: Iterable[str],
    ) -> None:
        self._database = database
        self._plan = plan
        self._staged = staged
        self._recorder = recorder
        self._outcome = outcome
        self._secrets = tuple(secrets)
        self._vetting = vetting.Vetting(database, plan.tools, staged.chat_id if plan.keep.log else None)
        self._lender = Lender(plan.around, database.path)
        self._running = Running()
        self._logs: dict[str, ToolLog] = {}
        self._begun = time.monotonic()
        self._told: list[Message] = []
        #: The final answer that a tool gave.
        self.final: str | None = None

    def answer(self, rows: Iterable[Row]) -> Iterator[TurnEvent]:
        """Answer calls (rows of ``tool_invocations``); raise PendingError where some wait for a person."""
        calls: list[Call] = []
        try:
            for row in rows:
                calls.append(self._vetting.vet(row))
            yield from self._tell(calls, *self._vetted(calls))
            yield from self._run(calls)
        except BaseException:
            self._break_off(calls)
            raise
        yield from self._wait(calls)

    def take_told(self) -> list[Message]:
        """Return the results since the last time, as the model gets them."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Close what tools left open for each other."""
        self._lender.sessions.close()

    def _vetted(self, calls: list[Call]) -> Iterator[Write]:
        """Yield what finishes the calls that end without having run."""
        for call in calls:
            if call.ending and call.row["status"] == "pending":
                yield self._finish(call, {"decision": vetting.decision_text(call), "started_at": None}, "pending")

    def _run(self, calls: list[Call]) -> Iterator[TurnEvent]:
        """Run what may run, side by side; tell what has ended as soon as all before it has."""
        by_id = {call.id: call for call in calls}
        queue = deque(call for call in calls if call.is_allowed)
        while queue or len(self._running):
            batch = [queue.popleft() for _ in range(min(len(queue), MOST_AT_ONCE - len(self._running)))]
            self._start(batch)
            writes: list[Write] = []
            for report in self._running.reports(PIECE_S if self._logs else _LOOK_S) if len(self._running) else ():
                if isinstance(report, Output):
                    self._log(report.run.id).add(report.data)
                else:
                    writes += self._ended(by_id[report.run.id], report.run)
            writes += [write for log in self._logs.values() if log.due() for write in log.writes()]
            yield from self._tell(calls, *writes)

    def _start(self, batch: list[Call]) -> None:
        """Begin to run calls, each claimed before."""
        if self._recorder.storage_error and batch:
            raise self._recorder.storage_error  # nothing runs that cannot be written down
        self._claim(batch)
        for call in batch:
            if call.ending is None:
                self._begin(call)

    def _claim(self, batch: list[Call]) -> None:
        """Take calls before they run; one that somebody else decided meanwhile ends as they said."""
        if not self._plan.keep.log or not batch:
            return
        with self._database.transaction():
            for call in batch:
                tool_id, job_id = call.tool.id if call.tool else None, self._staged.job_id
                if invocations.claim(self._database, call.id, decision=call.decision, tool_id=tool_id, job_id=job_id):
                    continue
                call.row = invocations.get(self._database, call.id)
                call.ending = toolcalls.ending_of(call.row)

    def _begin(self, call: Call) -> None:
        assert call.tool
        if self._plan.tools.on_start:
            self._plan.tools.on_start(toolcalls.run_of(call.row))
        try:
            context = self._lender.context(call.tool, self._running.log(call.id), self._remaining())
        except LlmctlError as error:
            context, problem = None, error
        if context is None:
            self._running.refuse(Run(call.id, call.tool, call.arguments), problem)
        else:
            self._running.start(Run(call.id, call.tool, call.arguments, context))

    def _remaining(self) -> float | None:
        limit = self._plan.manner.timeout_s
        if limit is None:
            return None
        remaining = limit - (time.monotonic() - self._begun)
        if remaining <= 0:
            raise UnavailableError(f"no answer within {limit:g} s", reason="timeout")
        return remaining

    def _ended(self, call: Call, run: Run) -> list[Write]:
        """Take a run's result in; return what finishes its row and its log."""
        call.ending = self._ending(call, run)
        log = self._logs.pop(call.id, None)
        duration = {"duration": clock.elapsed_ms(run.begun)}
        if self._plan.tools.on_end:
            self._plan.tools.on_end(toolcalls.run_of(call.row, call.ending))
        return [*(log.writes(is_end=True) if log else []), self._finish(call, duration, "running")]

    def _ending(self, call: Call, run: Run) -> Ending:
        name, result, strike = call.row["name"], run.result, self._redaction.text
        assert result is not None
        if isinstance(result, LlmctlError):
            status = "denied" if result.reason == "confined" else "failed"
            message = strike(result.message)
            return Ending(status, toolcalls.failed_text(name, message), message)
        text = strike(result.content)
        if result.error is not None:
            return Ending("failed", toolcalls.failed_text(name, text), strike(result.error), result.exit_status)
        return Ending("completed", text, None, result.exit_status, result.halts)

    def _finish(self, call: Call, more: dict[str, Any], status: str) -> Write:
        assert call.ending
        now = clock.now()
        ending = {
            "status": call.ending.status,
            "result": call.ending.text,
            "error": call.ending.error,
            "exit_status": call.ending.exit_status,
        }
        return Update(
            "tool_invocations", call.id, ending | more | {"finished_at": now, "updated_at": now}, {"status": status}
        )

    def _tell(self, calls: list[Call], *writes: Write) -> Iterator[TurnEvent]:
        """Commit, together with the results that are now next in order; then yield those."""
        ready = []
        for call in calls:
            if call.ending is None:
                break
            if not call.is_told:
                ready.append(call)
        messages = [toolcalls.message_of(call.row, call.ending) for call in ready if call.ending]
        told = [
            write
            for call, message in zip(ready, messages, strict=True)
            for write in message_writes(self._staged, message, source_id=call.id)
        ]
        if writes or told:
            self._recorder.write(*writes, *told)
        self._told += messages
        self._outcome.new_messages += messages
        for call in ready:
            call.is_told = True
            yield self._shown(call)

    def _shown(self, call: Call) -> ToolRun:
        assert call.ending
        if call.ending.halts and self.final is None:
            self.final = call.ending.text
        return self._outcome.ran(toolcalls.run_of(call.row, call.ending))

    def _wait(self, calls: list[Call]) -> Iterator[TurnEvent]:
        """Say what waits for a person, and end the turn there."""
        waiting = [call for call in calls if call.waits]
        if not waiting:
            return
        for call in calls:
            if call.ending and not call.is_told:  # told with the rest, once that is decided
                yield self._outcome.ran(toolcalls.run_of(call.row, call.ending))
        for call in waiting:
            yield Pending(call.id, call.row["name"], call.row["arguments"])
        raise self._pending(waiting)

    def _pending(self, waiting: list[Call]) -> PendingError:
        names = ", ".join(dict.fromkeys(f'"{toolcalls.shown_name(call.row["name"])}"' for call in waiting))
        approve = " ".join(f"--approve {name}" for name in dict.fromkeys(call.row["name"] for call in waiting))
        hint = f"nothing is kept of this turn, so allow it beforehand: {approve}"
        if self._plan.keep.log:
            hint = f"llmctl tool approve {' '.join(call.id[:8] for call in waiting)} --continue"
        verb = "waits" if len(waiting) == 1 else "wait"
        return PendingError(f"{names} {verb} for your decision", hint=hint, reason="approval")

    def _break_off(self, calls: list[Call]) -> None:
        """End what still runs, and say so in its rows."""
        running = {run.id for run in self._running.runs}
        if not running:
            return
        process.kill_all()
        now = clock.now()
        ended = {"status": "cancelled", "error": "interrupted", "finished_at": now, "updated_at": now}
        logs = [write for log in self._logs.values() for write in log.writes(is_end=True)]
        self._recorder.write(*logs, *(Update("tool_invocations", id, ended, {"status": "running"}) for id in running))

    def _log(self, id: str) -> ToolLog:
        if id not in self._logs:
            self._logs[id] = ToolLog(id, self._redaction)
        return self._logs[id]

    @property
    def _redaction(self) -> Redaction:
        return Redaction((*self._secrets, *self._lender.secrets))
