"""Run authorized tool calls: claim their rows, run them side by side, log their output, and finish their rows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import DeniedError, InvalidOutputError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.redaction import Redaction
from llmctl.core.signals import block_signals, defer_signals
from llmctl.core.stored_values import decode_arguments, dumps, new_id
from llmctl.core.tools import Ran, Tool
from llmctl.engine.connections import trust
from llmctl.engine.output_log import FLUSH_INTERVAL_S, OutputLog
from llmctl.engine.runtime import RuntimeEnv, ToolGrant, Toolset
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.authorize import PendingToolCall
from llmctl.engine.tools.context import ToolContextFactory
from llmctl.engine.tools.records import Suspended, ToolOutcome
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.records import invocations, tools
from llmctl.store.records.types import InvocationRow
from llmctl.tools import TYPES, Context, process
from llmctl.tools.subprocess_tool import format_timeout

#: Tools that run at the same time; further ones wait.
MAX_CONCURRENT_RUNS = 16

#: How long to wait for reports of running tools.
_POLL_INTERVAL_S = 0.5
#: How long sub-agents get to store where they stopped.
_STOP_GRACE_S = 1.0
#: How long after its timeout a tool that does not stop is abandoned.
_TIMEOUT_GRACE_S = 2.0


@dataclass(slots=True)
class ActiveRun:
    """A running tool."""

    id: str
    tool: Tool
    arguments: dict[str, Any]
    #: None if it could not start.
    context: Context | None = None
    started: float = field(default_factory=time.monotonic)
    result: Ran | LlmctlError | None = None

    @property
    def timeout_s(self) -> float:
        return self.context.timeout_s if self.context else 0.0

    @property
    def is_subagent(self) -> bool:
        return bool(self.tool.data.get("takes_context"))


@dataclass(frozen=True, slots=True)
class RunOutput:
    """A piece of a tool's output."""

    run: ActiveRun
    data: bytes


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run has ended; ``run.result`` is its result."""

    run: ActiveRun


class ToolExecutor:
    """Runs the tool calls of one job. It claims rows itself; the caller commits all other writes."""

    def __init__(
        self,
        database: Database,
        job_id: str,
        runtime: RuntimeEnv,
        tools: Toolset,
        *,
        secrets: Iterable[str] = (),
        timeout_s: float | None = None,
        stores_rows: bool = True,
        stores_logs: bool = True,
        recover_children: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._tools = tools
        self._secrets = tuple(secrets)
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._stores_rows = stores_rows
        self._stores_logs = stores_logs
        #: Finishes the jobs of sub-agents that do not stop in time.
        self._recover_children = recover_children
        self._runtime = runtime
        self._contexts = ToolContextFactory(runtime, database.path)
        self._pool = RunPool()
        self._logs: dict[str, OutputLog] = {}
        self._is_undumpable = False

    def run(
        self, calls: Iterable[PendingToolCall], before_start: Callable[[], None] = lambda: None
    ) -> Iterator[list[Write]]:
        """Run the allowed calls; yield the writes of their output and results as they arrive.

        ``before_start`` may raise an error to prevent further starts. Raises UnavailableError when the time limit of
        the whole turn is over.
        """
        by_id = {call.id: call for call in calls}
        queue = deque(call for call in by_id.values() if call.is_allowed)
        if queue and not self._is_undumpable:
            process.make_undumpable()
            self._is_undumpable = True
        while queue or len(self._pool):
            batch = [queue.popleft() for _ in range(min(len(queue), MAX_CONCURRENT_RUNS - len(self._pool)))]
            if batch:
                before_start()
                self._start_batch(batch)
            self._runtime.raise_if_interrupted()
            yield self._collect_writes(by_id)

    def abort(self) -> list[Write]:
        """Stop what still runs; return the writes that record it."""
        runs = self._pool.runs
        if runs:
            if not self._pool.stop(_STOP_GRACE_S):
                self._recover_children()
            process.kill_started_by(self._pool.threads)
        logs = [write for log in self._logs.values() for write in log.take_writes(is_end=True)]
        return logs + [_abort_write(run) for run in runs]

    def finish_write(self, call: PendingToolCall, more: dict[str, Any], status: str) -> Write:
        """Return the write that finishes the row of a call, if it still has that status."""
        assert call.outcome
        now = clock.now()
        changes = {
            "status": call.outcome.status,
            "result": call.outcome.text,
            "error": call.outcome.error,
            "exit_status": call.outcome.exit_status,
            "halts": int(call.outcome.halts),
            "finished_at": now,
            "updated_at": now,
        }
        return Update("tool_invocations", call.id, changes | more, {"status": status})

    def close(self) -> None:
        """Close the sessions that tools share."""
        self._contexts.sessions.close()

    def _collect_writes(self, by_id: dict[str, PendingToolCall]) -> list[Write]:
        writes: list[Write] = []
        wait_s = FLUSH_INTERVAL_S if self._logs else _POLL_INTERVAL_S
        for report in self._pool.collect_reports(wait_s) if len(self._pool) else ():
            if isinstance(report, RunOutput):
                if self._stores_logs:
                    self._output_log(report.run.id).add(report.data)
            else:
                writes += self._finish_run(by_id[report.run.id], report.run)
        return writes + [write for log in self._logs.values() if log.is_due() for write in log.take_writes()]

    def _start_batch(self, batch: list[PendingToolCall]) -> None:
        remaining_s = self._remaining_s()
        if self._stores_rows:
            self._claim(batch)
        for call in batch:
            if call.outcome is None:
                self._start_run(call, remaining_s)

    def _claim(self, batch: list[PendingToolCall]) -> None:
        """Claim calls before they run; one that was decided elsewhere in the meantime gets that outcome."""
        with self._database.transaction():
            for call in batch:
                tool_id = call.tool.id if call.tool else None
                if invocations.claim(
                    self._database, call.id, decision=call.decision, tool_id=tool_id, job_id=self._job_id
                ):
                    continue
                call.row = invocations.get(self._database, call.id)
                call.outcome = records.outcome_from_row(call.row)

    def _start_run(self, call: PendingToolCall, remaining_s: float | None) -> None:
        assert call.tool
        if self._tools.on_start:
            self._tools.on_start(records.event_from_row(call.row))
        run = ActiveRun(call.id, call.tool, call.arguments)
        try:
            context = self._contexts.create(call.tool, self._pool.output_callback(call.id), remaining_s)
            run.context = replace(context, run_id=call.id, job_id=self._job_id, is_over=lambda: self._pool.is_stopping)
        except LlmctlError as error:
            self._pool.fail(run, error)
        else:
            self._pool.start(run)

    def _remaining_s(self) -> float | None:
        if self._deadline is None:
            return None
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise UnavailableError(f"no answer within {self._timeout_s:g} s", reason="timeout")
        return remaining_s

    def _finish_run(self, call: PendingToolCall, run: ActiveRun) -> list[Write]:
        """Record the result of a run; return the writes that finish its row and log, or make it pending again."""
        if isinstance(run.result, Suspended):
            call.suspended_by = run.result.cause
            return [_requeue_write(run)]
        call.outcome = records.note_edited_arguments(self._run_outcome(call, run), call.decision)
        log = self._logs.pop(call.id, None)
        if self._tools.on_end:
            self._tools.on_end(records.event_from_row(call.row, call.outcome))
        duration = {"duration": clock.elapsed_ms(run.started)}
        return [*(log.take_writes(is_end=True) if log else []), self.finish_write(call, duration, "running")]

    def _run_outcome(self, call: PendingToolCall, run: ActiveRun) -> ToolOutcome:
        name, result, redact = call.row.name, run.result, self._redaction
        assert result is not None
        if isinstance(result, LlmctlError):
            call.error = result
            status = "denied" if result.reason == "confined" else "failed"
            message = redact.text(result.message)
            return ToolOutcome(status, records.failed_text(name, message), message)
        text = redact.text(result.content)
        if result.error is not None:
            error = redact.text(result.error)
            failed = records.failed_text(name, text)
            return ToolOutcome("failed", failed, error, result.exit_status, files=result.files)
        return ToolOutcome("completed", text, None, result.exit_status, result.halts, result.files)

    def _output_log(self, id: str) -> OutputLog:
        if id not in self._logs:
            self._logs[id] = OutputLog(id, self._redaction)
        return self._logs[id]

    @property
    def _redaction(self) -> Redaction:
        return Redaction((*self._secrets, *self._contexts.secrets))


class RunPool:
    """Running tools, each in its own thread. Threads only report; the main thread writes all rows."""

    def __init__(self) -> None:
        self._reports: SimpleQueue[tuple[ActiveRun, Any]] = SimpleQueue()
        self._runs: dict[str, ActiveRun] = {}
        self._threads: dict[str, process.ToolThread] = {}
        #: Tools that run in our threads should stop.
        self.is_stopping = False

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def runs(self) -> tuple[ActiveRun, ...]:
        return tuple(self._runs.values())

    @property
    def threads(self) -> list[process.ToolThread]:
        return list(self._threads.values())

    def output_callback(self, id: str) -> Callable[[bytes], None]:
        """Return a function that receives the output of a run."""
        return lambda data: self._reports.put((self._runs[id], data)) if id in self._runs else None

    def start(self, run: ActiveRun) -> None:
        self._runs[run.id] = run
        thread = self._threads[run.id] = process.ToolThread(self._run_tool, run)
        with block_signals():
            thread.start()

    def fail(self, run: ActiveRun, error: LlmctlError) -> None:
        """Report a run that cannot start as failed."""
        self._runs[run.id] = run
        self._reports.put((run, error))

    def stop(self, grace_s: float) -> bool:
        """Tell sub-agents to stop and wait for them; return whether all have stopped in time."""
        self.is_stopping = True
        until = time.monotonic() + grace_s
        while any(run.is_subagent for run in self.runs):
            if time.monotonic() >= until:
                return False
            self.collect_reports(0.01)
        return True

    def collect_reports(self, wait_s: float) -> list[RunOutput | RunFinished]:
        """Return new reports, waiting for the first one. An unexpected exception in a tool is raised here."""
        reports: list[RunOutput | RunFinished] = []
        try:
            report = self._reports.get(timeout=wait_s)
            while True:
                reports += self._handle_report(*report)
                report = self._reports.get_nowait()
        except Empty:
            return reports + self._expire_overdue()

    def _handle_report(self, run: ActiveRun, report: Any) -> list[RunOutput | RunFinished]:
        if self._runs.get(run.id) is not run:
            return []  # abandoned before
        if isinstance(report, bytes):
            return [RunOutput(run, report)]
        if isinstance(report, BaseException) and not isinstance(report, LlmctlError):
            raise report
        run.result = report
        del self._runs[run.id]
        return [RunFinished(run)]

    def _expire_overdue(self) -> list[RunOutput | RunFinished]:
        """Abandon runs that have not stopped after their timeout."""
        now = time.monotonic()
        overdue = [run for run in self._runs.values() if now > run.started + run.timeout_s + _TIMEOUT_GRACE_S]
        for run in overdue:
            run.result = UnavailableError(f"no result within {format_timeout(run.timeout_s)}", reason="timeout")
            del self._runs[run.id]
        return [RunFinished(run) for run in overdue]

    def _run_tool(self, run: ActiveRun) -> None:
        assert run.context
        try:
            result: Any = TYPES.load(run.tool.type).run(run.tool, run.arguments, run.context)
        except LlmctlError as error:
            result = error
        except OSError as error:  # refused by the system: not a bug
            result = RejectedError((error.strerror or str(error)).lower())
        except BaseException as error:
            self._reports.put((run, error))
            raise
        self._reports.put((run, result))


def _requeue_write(run: ActiveRun) -> Write:
    return Update("tool_invocations", run.id, {"status": "pending", "updated_at": clock.now()}, {"status": "running"})


def _abort_write(run: ActiveRun) -> Write:
    """Return the write that cancels a run. Sub-agents become pending again: they continue where they stopped."""
    if run.is_subagent:
        return _requeue_write(run)
    now = clock.now()
    changes = {"status": "cancelled", "error": "interrupted", "finished_at": now, "updated_at": now}
    return Update("tool_invocations", run.id, changes, {"status": "running"})


# --- one call of the user: the same rows, checks and limits, but no approval


def invoke_tool(
    database: Database, job_id: str, tool: Tool, arguments: str, runtime: RuntimeEnv, *, timeout_s: float | None = None
) -> tuple[InvocationRow, LlmctlError | None]:
    """Run a tool within a running job; return the row of the call, and the error if it failed.

    The error is InvalidOutputError for invalid arguments (JSON text), DeniedError if a rule denies the call, else what
    the run raised: UnavailableError on timeout, RejectedError on failure. Raises ConfigError for a tool that takes
    keys and is not trusted.
    """
    trust.require_tool(database, tool, runtime)
    call = _create_call(database, tool, arguments, job_id)
    error = _authorize(database, tool, call)
    executor = ToolExecutor(database, job_id, runtime, Toolset((ToolGrant(tool, "automatic"),)), timeout_s=timeout_s)
    try:
        if error:
            database.commit(executor.finish_write(call, {"decision": authorize.encode_decision(call)}, "pending"))
        for writes in executor.run([call]):
            database.commit(*writes)
    finally:
        with defer_signals():
            database.commit(*executor.abort())
        executor.close()
    return invocations.get(database, call.id), error or _call_error(call)


def _authorize(database: Database, tool: Tool, call: PendingToolCall) -> LlmctlError | None:
    """Validate the arguments and apply stored rules; otherwise the user's own call is permitted."""
    call.arguments, errors = authorize.parse_arguments(tool, call.row.arguments)
    if errors:
        problem = "; ".join(errors)
        call.outcome = ToolOutcome("failed", f"Invalid tool arguments: {problem}", f"invalid arguments: {problem}")
        return InvalidOutputError(
            f'invalid arguments for "{tool.name}": {problem}',
            hint=f"see: llmctl tool show {tool.name}",
            reason="arguments",
        )
    rules = tools.list_active_rules(database, tool.id, chat_id=None, agent_id=None) if tool.id else []
    decision = authorize.decide(ToolGrant(tool, "automatic"), call.arguments, rules, ())
    call.decision = decision.to_json(clock.now()) | ({"by": "user"} if decision.effect == "allow" else {})
    if decision.effect == "allow":
        return None
    call.outcome = ToolOutcome("denied", records.denied_text(call.decision), f"denied by {decision.by}")
    return DeniedError(f'"{tool.name}" is denied by a rule', hint=f"see: llmctl tool show {tool.name}", reason="rule")


def _call_error(call: PendingToolCall) -> LlmctlError | None:
    if call.error is not None or call.outcome is None or call.outcome.status == "completed":
        return call.error
    return RejectedError(f'"{call.row.name}" failed: {call.outcome.error}', reason="tool_failed")


def _create_call(database: Database, tool: Tool, arguments: str, job_id: str) -> PendingToolCall:
    id, now = new_id(), clock.now()
    value = decode_arguments(arguments)
    row = InvocationRow(
        id=id,
        tool_id=tool.id,
        tool_call_id=id,
        name=tool.name,
        arguments=arguments,
        parameters=dumps(value) if isinstance(value, dict | list) else None,
        status="pending",
        job_id=job_id,
        origin="llmctl",
        created_at=now,
        updated_at=now,
    )
    database.commit(Insert("tool_invocations", row.to_dict()), durable=True)
    return PendingToolCall(row, tool)
