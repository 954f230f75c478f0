"""What happens to the tool calls of a model: vetted, run side by side, written down, told in the order they came.

Whoever gets here goes on from the rows, so that a turn that stopped at a permission, or died, is gone on with by any
process: what has ended is told, what was allowed runs once, what nobody decided waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.messages import Message
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.authorize import Call
from llmctl.engine.tools.execute import Workbench
from llmctl.engine.tools.suspend import WaitsForPerson
from llmctl.engine.turn.begin import Staged, message_writes
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.result import Outcome, Pending, ToolRun, TurnEvent
from llmctl.store.database import Database, Row
from llmctl.store.writes import Write


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
        self._plan = plan
        self._staged = staged
        self._recorder = recorder
        self._outcome = outcome
        self._vetting = authorize.Vetting(database, plan.tools, staged.chat_id if plan.keep.log else None)
        self._bench = Workbench(
            database,
            staged.job_id,
            plan.around,
            plan.tools,
            secrets=secrets,
            timeout_s=plan.manner.timeout_s,
            keeps_rows=plan.keep.log,
            keeps_logs=plan.keep.log and "tool-calls" not in plan.keep.without,
        )
        self._told: list[Message] = []
        #: The final answer that a tool gave.
        self.final: str | None = None

    def answer(self, rows: Iterable[Row]) -> Iterator[TurnEvent]:
        """Answer calls (rows of ``tool_invocations``); raise PendingError where some wait for a person."""
        calls = [self._vetting.vet(row) for row in rows]
        yield from self._tell(calls, *self._vetted(calls))
        for writes in self._bench.run(calls, self._require_hub):
            yield from self._tell(calls, *writes)
            self._plan.on_idle()
        yield from self._wait(calls)

    def take_told(self) -> list[Message]:
        """Return the results since the last time, as the model gets them."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """End what still runs, where the turn broke off, and say so; close what tools left open for each other."""
        if writes := self._bench.break_off():
            self._recorder.write(*writes)
        self._bench.close()

    def _vetted(self, calls: list[Call]) -> Iterator[Write]:
        """Yield what finishes the calls that end without having run."""
        for call in calls:
            if call.ending and call.row["status"] == "pending":
                yield self._bench.finished(call, {"decision": authorize.decision_text(call)}, "pending")

    def _require_hub(self) -> None:
        if self._recorder.storage_error:
            raise self._recorder.storage_error  # nothing runs that cannot be written down

    def _tell(self, calls: list[Call], *writes: Write) -> Iterator[TurnEvent]:
        """Commit, together with the results that are now next in order; then yield those."""
        ready = []
        for call in calls:
            if call.ending is None:
                break
            if not call.is_told:
                ready.append(call)
        messages = [records.message_of(call.row, call.ending) for call in ready if call.ending]
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
        return self._outcome.ran(records.run_of(call.row, call.ending))

    def _wait(self, calls: list[Call]) -> Iterator[TurnEvent]:
        """Say what waits for a person, here or with the agents that were asked, and end the turn there."""
        stopped = [call for call in calls if call.waits or call.parked]
        if not stopped:
            return
        for call in calls:
            if call.ending and not call.is_told:  # told with the rest, once that is decided
                yield self._outcome.ran(records.run_of(call.row, call.ending))
        waiting = [pending for call in stopped for pending in _pending(call)]
        yield from waiting
        other = (call.parked for call in stopped if call.parked and not isinstance(call.parked, WaitsForPerson))
        raise next(other, None) or WaitsForPerson(waiting, is_kept=self._plan.keep.log)


def _pending(call: Call) -> tuple[Pending, ...]:
    if isinstance(call.parked, WaitsForPerson):
        return call.parked.calls
    return () if call.parked else (Pending(call.id, call.row["name"], call.row["arguments"]),)
