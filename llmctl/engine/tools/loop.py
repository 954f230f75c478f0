"""Answer the tool calls of a turn: authorize them, run them side by side, and store the results in call order.

Everything is read from the rows, so that any process can continue a turn that stopped for an approval or died: ended
calls are reported, allowed ones run once, undecided ones wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from llmctl.core.chat import Message
from llmctl.core.errors import StorageError
from llmctl.engine.runtime import ApprovalNeeded, ToolEvent, TurnEvent
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.authorize import Authorizer, PendingToolCall
from llmctl.engine.tools.execute import ToolExecutor
from llmctl.engine.tools.records import ApprovalPending
from llmctl.store.database import Write
from llmctl.store.records.types import InvocationRow


class ResultRecorder(Protocol):
    """Commits the rows of a turn."""

    storage_error: StorageError | None

    def write(self, *writes: Write) -> None: ...
    def flush(self) -> None: ...


class ResultCollector(Protocol):
    """Collects what a turn reports and adds to the conversation."""

    new_messages: list[Message]

    def add_tool_event(self, event: ToolEvent) -> ToolEvent: ...


class ToolLoop:
    """Answers the tool calls of one turn."""

    def __init__(
        self,
        authorizer: Authorizer,
        executor: ToolExecutor,
        recorder: ResultRecorder,
        collector: ResultCollector,
        message_writes: Callable[[Message, str], list[Write]],
        *,
        is_logged: bool,
    ) -> None:
        self._authorizer = authorizer
        self._executor = executor
        self._recorder = recorder
        self._collector = collector
        #: Returns the rows of a result, given the message and the id of the call.
        self._message_writes = message_writes
        self._is_logged = is_logged
        self._results: list[Message] = []
        #: The final answer of the turn, if a tool gave one.
        self.final: str | None = None

    def answer(self, rows: Iterable[InvocationRow]) -> Iterator[TurnEvent]:
        """Answer calls (rows of ``tool_invocations``). Raises PendingError if some need the user's approval."""
        calls = [self._authorizer.authorize(row) for row in rows]
        yield from self._emit_results(calls, *self._finish_unrun(calls))
        for writes in self._executor.run(calls, self._require_storage):
            yield from self._emit_results(calls, *writes)
            self._recorder.flush()
        yield from self._raise_if_pending(calls)

    def pop_results(self) -> list[Message]:
        """Return the results since the last call of this method, as messages for the model."""
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Abort what still runs, and close the sessions that tools share."""
        if writes := self._executor.abort():
            self._recorder.write(*writes)
        self._executor.close()

    def _finish_unrun(self, calls: list[PendingToolCall]) -> Iterator[Write]:
        """Yield the writes that finish calls which have an outcome without having run."""
        for call in calls:
            if call.outcome and call.row.status == "pending":
                yield self._executor.finish_write(call, {"decision": authorize.encode_decision(call)}, "pending")

    def _require_storage(self) -> None:
        if self._recorder.storage_error:
            raise self._recorder.storage_error  # nothing runs that cannot be recorded

    def _emit_results(self, calls: list[PendingToolCall], *writes: Write) -> Iterator[TurnEvent]:
        """Commit writes together with the results that are next in call order; then yield these results."""
        ready = []
        for call in calls:
            if call.outcome is None:
                break
            if not call.is_reported:
                ready.append(call)
        messages = [records.result_message(call.row, call.outcome) for call in ready if call.outcome]
        result_writes = [
            write
            for call, message in zip(ready, messages, strict=True)
            for write in self._message_writes(message, call.id)
        ]
        if writes or result_writes:
            self._recorder.write(*writes, *result_writes)
        self._results += messages
        self._collector.new_messages += messages
        for call in ready:
            call.is_reported = True
            yield self._tool_event(call)

    def _tool_event(self, call: PendingToolCall) -> ToolEvent:
        assert call.outcome
        if call.outcome.halts and self.final is None:
            self.final = call.outcome.text
        hint = call.error.hint if call.error else None
        return self._collector.add_tool_event(records.event_from_row(call.row, call.outcome, hint))

    def _raise_if_pending(self, calls: list[PendingToolCall]) -> Iterator[TurnEvent]:
        """Report the calls that need an approval, here or in sub-agents, and end the turn."""
        stopped = [call for call in calls if call.is_undecided or call.suspended_by]
        if not stopped:
            return
        for call in calls:
            if call.outcome and not call.is_reported:  # stored with the rest, once that is decided
                if call.outcome.files:  # kept with the message of the result only
                    yield from self._emit_results([call])
                else:
                    yield self._collector.add_tool_event(records.event_from_row(call.row, call.outcome))
        approvals = [approval for call in stopped for approval in _pending_approvals(call)]
        yield from approvals
        causes = (call.suspended_by for call in stopped if call.suspended_by)
        other = next((cause for cause in causes if not isinstance(cause, ApprovalPending)), None)
        raise other or ApprovalPending(approvals, is_logged=self._is_logged)


def _pending_approvals(call: PendingToolCall) -> tuple[ApprovalNeeded, ...]:
    if isinstance(call.suspended_by, ApprovalPending):
        return call.suspended_by.calls
    return () if call.suspended_by else (ApprovalNeeded(call.id, call.row.name, call.row.arguments, call.use),)
