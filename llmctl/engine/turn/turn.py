"""One turn: from a prompt that is safe in the hub to an answer that is finished with a status.

``with Turn(...) as turn: for event in turn.events(): ...`` – a ``with`` block, because an exception in the consumer
(Ctrl-C while printing, a closed pipe) is not thrown into a generator, but reaches ``__exit__``.

Reading order: ``plan``, ``turn``, ``begin``, ``history``, ``model_call``, ``state``, ``decode``, ``recorder``,
``records``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse, File, Message, TextDelta
from llmctl.core.errors import IncompleteError, LlmctlError, PendingError, StorageError, UnavailableError
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id
from llmctl.engine.billing.cost import Cost, CostTracker, SettledCost
from llmctl.engine.connections.target import ResolvedEndpoint, Target, resolve, resolve_endpoint
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.runtime import Notice, StepStarted, ToolEvent, TurnEvent
from llmctl.engine.turn import history
from llmctl.engine.turn.begin import begin_turn, release_failed_begin
from llmctl.engine.turn.model_call import ModelCall, RequestSender
from llmctl.engine.turn.plan import TurnPlan, UserInput, build_chat_request, list_option_secrets, require_chat_model
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.records import correction_writes, message_writes
from llmctl.engine.turn.state import StepRequest, TurnResult
from llmctl.store.database import WRITE_ERRORS, Database, Insert, write_error
from llmctl.store.records import chats
from llmctl.store.records.types import InvocationRow

if TYPE_CHECKING:
    from llmctl.engine.tools.loop import ToolLoop
    from llmctl.engine.turn.output_schema import OutputValidator

#: Shorter prompts are not compared with the context of their model: it takes time to know that.
_LONG_PROMPT_CHARS = 100_000


class Turn:
    """Everything from locking the thread to unlocking it.

    ``on_commit`` is called before each wait for more of an answer: what was yielded is in the hub by then, and should
    be shown. It may raise to end the turn.
    """

    def __init__(self, database: Database, plan: TurnPlan, *, on_commit: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._plan = plan
        self._on_commit = on_commit
        self._started = time.monotonic()
        self._closed = False
        #: The tool calls in the answer of the step that just ended, as rows and as events.
        self._step_calls: list[InvocationRow] = []
        self._pending_events: list[ToolEvent] = []
        #: Messages of this turn that are in no hub (nothing is logged).
        self._unlogged_messages: list[Message] = []
        target = plan.target
        self.result = TurnResult(provider=target.provider.name, model=target.model, connection=target.connection)

    def __enter__(self) -> Turn:
        plan = self._plan
        require_chat_model(plan.target)
        if plan.input.files:
            from llmctl.engine.chats import attachments

            files = attachments.prepare_files(plan.input.files, plan.target, plan.runtime)
            plan = self._plan = plan.replace(input=plan.input.replace(files=files))
        # Trust and key first: without them nothing is worth storing.
        resolved = resolve_endpoint(self._database, plan.target, plan.runtime, needs_key=not plan.options.cached_only)
        job_id = new_id()
        try:
            self._begin(resolved, job_id)
        except BaseException as error:  # from here to the end of this method nothing else would unlock the thread
            release_failed_begin(self._database, job_id, error)
            if isinstance(error, LlmctlError) and plan.chat and plan.log:
                error.chat_id = plan.chat.id
            raise
        return self

    def _begin(self, resolved: ResolvedEndpoint, job_id: str) -> None:
        plan = self._plan
        self._secrets = (*resolved.secrets, *list_option_secrets(plan))
        redact = Redaction(self._secrets)
        self._ids = begin_turn(self._database, plan, redact, job_id)
        if plan.log and plan.input.is_resume:
            from llmctl.engine.tools import toolset

            tools = toolset.with_called_tools(self._database, self._ids.thread_id, plan.tools)
            plan = self._plan = plan.replace(tools=tools)
        self._recorder = Recorder(self._database, self._ids, plan, redact, self._on_commit)
        self._cost_tracker = CostTracker(self._database, plan.target, plan.cost_limits, env=plan.runtime.env)
        self._sender = RequestSender(self._recorder, plan, resolved.endpoint, redact)
        self._heartbeat = Heartbeat(self._database.path, self._ids.job_id)
        if plan.log:
            self.result.chat_id = self._ids.chat_id
            self.result.thread_id = self._ids.thread_id
            self.result.session_id = plan.agent.session_id if plan.agent else None
        else:
            self._unlogged_messages += plan.input.to_messages()
        self._earlier_tokens = chats.tokens_since_last_prompt(self._database, self._ids.thread_id)

    def events(self) -> Iterator[TurnEvent]:
        """Yield what happens, as it happens. Text is in the hub once ``on_commit`` was called: show it then."""
        steps, target = self._plan.options.max_steps, self._plan.target
        if target.instead_of:
            yield Notice(f'using your connection "{target.connection}" instead of "{target.instead_of}" of the file')
        if (yield from self._answer_earlier_calls()):
            return
        for number in range(1, steps + 1):
            response = yield from self._run_step(number)
            yield from self._pending_events
            self._recorder.flush()  # and calls before they run
            if not response.message.tool_calls:
                correction = self._validate(response, is_last=number == steps)
                if correction is None:
                    self._close("completed", None)
                    return
                self._send_back(response, correction)
                yield Notice(self._output_validator.notice_text())
            elif number < steps and (yield from self._answer_calls(response)):
                return
        raise PendingError(
            f"stopped after {steps} step{'' if steps == 1 else 's'} with unanswered tool calls",
            hint="raise the limit with --max-steps"
            if not self.result.chat_id
            else f"continue with: llmctl chat --chat {self.result.chat_id[:8]} (or raise the limit with --max-steps)",
            reason="max_steps",
        )

    def flush(self) -> None:
        """Commit what was received: for a consumer that shows each event as it gets it, without ``on_commit``."""
        self._recorder.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        self._close_tools()
        if not self._closed:
            self._finish_early(error)
        problem = self._recorder.storage_error
        if problem and (error is None or isinstance(error, LlmctlError)):
            raise self._storage_error(problem) from error

    def _run_step(self, number: int) -> Generator[TurnEvent, None, ChatResponse]:
        """Call the model once with the conversation so far."""
        plan = self._plan
        entries = self._load_history()
        if plan.options.history is not None:
            entries, dropped = history.last_turns(entries, plan.options.history)
            if dropped and number == 1:
                yield Notice(f"left out the oldest {dropped} turn{'' if dropped == 1 else 's'} (--history)")
        history.require_prompt(entries)
        messages, unsupported = _drop_unsupported_files((entry.message for entry in entries), plan.target)
        if unsupported and number == 1:
            yield Notice(f"left out files that this model does not accept: {', '.join(unsupported)}")
        request = plan.hooks.change_request(build_chat_request(plan, messages))
        if notice := check_prompt_size(request, plan.target):
            yield Notice(notice)
        step = StepRequest(number, request, entries, is_changed=request.messages is not messages)
        call = self._build_call(step)
        state = call.begin(self._ids, self._cost_tracker)
        self.result.cache_report = call.cache_report
        self.result.steps = number
        self.result.request_id = state.request_id
        self.result.message_id = state.message_id if plan.log else None
        yield StepStarted(self.result.chat_id, self.result.thread_id, self.result.message_id, state.request_id, number)
        self._recorder.flush()  # the ids are shown before the request is sent
        yield from call.events()
        response = self._finish_step("completed", None)
        plan.hooks.notify_response(response)
        return response

    def _build_call(self, step: StepRequest) -> ModelCall:
        if not (self._plan.log and self._plan.options.uses_cache):
            return ModelCall(self._sender, self._plan, step)
        from llmctl.engine.turn.cache import CachedCall  # only where a cache is asked for

        return CachedCall(self._database, self._sender, self._plan, step)

    def _load_history(self) -> list[history.HistoryEntry]:
        reader = history.Origin.from_target(self._plan.target)
        is_followed = bool(self._unlogged_messages)
        entries = history.load_history(self._database, self._ids.thread_id, reader=reader, is_followed=is_followed)
        if not self._plan.log and self._plan.input.is_resume:
            while entries and entries[-1].message.role == "assistant":  # the partial answer that is requested again
                entries.pop()
        unlogged = map(history.without_written_thinking, self._unlogged_messages)
        return entries + [history.HistoryEntry(0, message) for message in unlogged]

    def _finish_step(self, status: str, error: LlmctlError | None) -> ChatResponse:
        state = self._recorder.state
        assert state
        response = self._recorder.build_response()
        is_billable = state.may_be_billed(error)
        cost = (
            SettledCost(Cost(0.0))
            if state.is_cached
            else self._cost_tracker.settle_cost(response, state.reservation, may_be_billed=is_billable)
        )
        self.result.add_response(response, cost.cost.amount)
        if state.delivered and self.result.time_to_first_token_ms is None:
            self.result.time_to_first_token_ms = state.time_to_first_token_ms
        calls = response.message.tool_calls if status == "completed" else ()
        self._step_calls, self._pending_events = (
            self._begin_calls(state.message_id, response.message) if calls else ([], [])
        )
        is_kept = self._recorder.finish(
            status,
            response,
            self._totals(),
            cost_columns=cost.to_columns(),
            error=error,
            also=[Insert("tool_invocations", row.to_dict()) for row in self._step_calls],
        )
        self.result.tool_events += self._pending_events
        if not is_kept:
            self.result.message_id = None
        return response

    def _begin_calls(self, message_id: str, answer: Message) -> tuple[list[InvocationRow], list[ToolEvent]]:
        """Return the rows of the calls in an answer, and the events that report them."""
        from llmctl.engine.tools.records import event_from_row, invocation_rows, thoughts_by_call

        redact = Redaction(self._secrets)
        thoughts = {number: redact.text(text) for number, text in thoughts_by_call(answer.parts).items()}
        rows = invocation_rows(
            message_id, answer.tool_calls, self._ids.job_id, self.result.steps, self._plan.tools, thoughts
        )
        return rows, list(map(event_from_row, rows))

    def _validate(self, response: ChatResponse, *, is_last: bool) -> Message | None:
        """Return the correction to send for an answer that does not match the schema, or None."""
        return (
            self._output_validator.validate(response, is_last=is_last)
            if self._plan.options.schema is not None
            else None
        )

    @cached_property
    def _output_validator(self) -> OutputValidator:
        from llmctl.engine.turn.output_schema import OutputValidator  # only for turns with a schema

        return OutputValidator(self._plan.options, self.result)

    def _send_back(self, response: ChatResponse, correction: Message) -> None:
        if self._plan.log:
            self._recorder.write(*correction_writes(correction, self.result.message_id, self._ids))
        else:
            self._unlogged_messages += [response.message, correction]

    def _answer_earlier_calls(self) -> Generator[TurnEvent, None, bool]:
        """Answer the calls that an earlier turn left, when this one resumes it; True: a tool ended the turn."""
        if not (self._plan.log and self._plan.input.is_resume):
            return False
        from llmctl.store.records import invocations

        rows = invocations.list_unanswered(self._database, self._ids.thread_id)
        if rows and (yield from self._run_tools(rows)):
            return True
        final = invocations.find_final_answer(self._database, self._ids.thread_id)
        if final is not None:
            yield from self._finish_with_text(final)
        return final is not None

    def _answer_calls(self, response: ChatResponse) -> Generator[TurnEvent, None, bool]:
        """Answer the calls of the step that just ended; True: a tool ended the turn."""
        if not self._plan.log:
            self._unlogged_messages.append(response.message)
        return (yield from self._run_tools(self._step_calls))

    def _run_tools(self, rows: list[InvocationRow]) -> Generator[TurnEvent, None, bool]:
        yield from self._tool_loop.answer(rows)
        results = self._tool_loop.pop_results()
        if not self._plan.log:
            self._unlogged_messages += results
        if self._tool_loop.final is None:
            return False
        yield from self._finish_with_text(self._tool_loop.final)
        return True

    def _finish_with_text(self, text: str) -> Iterator[TurnEvent]:
        """Finish the turn with a tool's answer instead of the model's."""
        message = Message.from_text("assistant", text)
        answer = message_writes(self._ids, message)[0]
        assert isinstance(answer, Insert)
        self._recorder.write(Insert(answer.table, {**answer.row, **self._totals()}))
        self.result.message_id = answer.row["id"] if self._plan.log else None
        self.result.response = ChatResponse(message, finish_reason="stop")
        self.result.new_messages.append(message)
        yield TextDelta(text)
        self._close("completed", None)

    @cached_property
    def _tool_loop(self) -> ToolLoop:
        # Threads and processes: only if there is a call.
        from llmctl.engine import recovery
        from llmctl.engine.tools.authorize import Authorizer
        from llmctl.engine.tools.execute import ToolExecutor
        from llmctl.engine.tools.loop import ToolLoop

        plan, ids = self._plan, self._ids
        executor = ToolExecutor(
            self._database,
            ids.job_id,
            plan.runtime,
            plan.tools,
            secrets=self._secrets,
            timeout_s=plan.options.timeout,
            stores_rows=plan.log,
            stores_logs=plan.log and "tool-calls" not in plan.options.no_persist,
            recover_children=lambda: recovery.recover_children(self._database, ids.job_id),
        )
        return ToolLoop(
            Authorizer(self._database, plan.tools, ids.chat_id if plan.log else None, plan.runtime.env),
            executor,
            self._recorder,
            self.result,
            lambda message, call_id: message_writes(ids, message, self._database, source_id=call_id),
            is_logged=plan.log,
        )

    def _close_tools(self) -> None:
        if "_tool_loop" in self.__dict__:
            self._tool_loop.close()

    def _totals(self) -> dict[str, Any]:
        known = self.result.response is not None and self.result.response.usage is not None
        usage = self.result.report_usage() if known else {}
        counts = [usage.get("input_tokens"), usage.get("output_tokens")]
        sent, answered = (
            None if count is None else earlier + count
            for earlier, count in zip(self._earlier_tokens, counts, strict=True)
        )
        return {"model_id": self.result.model, "input_tokens": sent, "output_tokens": answered}

    def _finish_early(self, error: BaseException | None) -> None:
        """Finish a turn that was stopped or failed, with what was received and why it ended."""
        known = error if isinstance(error, LlmctlError) else None
        if isinstance(error, WRITE_ERRORS):
            known = write_error(self._database.path, error)
        # A plain LlmctlError is the consumer's: stdout cannot be written.
        stopped = known is None or known.code == LlmctlError.code
        status = "interrupted" if stopped else "incomplete" if isinstance(known, IncompleteError) else "failed"
        if self._recorder.state:
            self._finish_step(status, known)
        if known is None:
            self._close("cancelled", "interrupted", result_status="interrupted")
        elif isinstance(known, PendingError):
            self._close("completed", None, result_status="pending", exit_code=known.exit_code)
        else:
            self._close("failed", known.message, result_status=status, exit_code=known.exit_code)
        if known:
            known.chat_id, known.request_id = self.result.chat_id, self.result.request_id

    def _close(self, status: str, error: str | None, *, result_status: str = "completed", exit_code: int = 0) -> None:
        self._recorder.close(status, error, exit_code)
        self._closed = True
        self.result.status = result_status
        self.result.duration_ms = clock.elapsed_ms(self._started)

    def _storage_error(self, problem: StorageError) -> StorageError:
        spool = self._recorder.spooled_to
        error = StorageError(
            f"cannot store the answer: {problem.message}",
            hint="the missing rows could not be saved anywhere; copy the answer from the terminal"
            if spool is None
            else f"some of the missing rows are in {spool}, the last ones could not be saved; copy the answer"
            if self._recorder.has_lost_rows
            else f"the missing rows are in {spool}; the next run adds them to the hub",
            reason=problem.reason,
        )
        error.chat_id, error.request_id = self.result.chat_id, self.result.request_id
        return error


def _drop_unsupported_files(messages: Iterable[Message], target: Target) -> tuple[tuple[Message, ...], list[str]]:
    """Return the messages without the files that this model cannot take, and the names of those."""
    sent = tuple(messages)
    if not any(isinstance(part, File) for message in sent for part in message.parts):
        return sent, []
    from llmctl.engine.chats import attachments

    return attachments.drop_unsupported_files(sent, target)


def check_prompt_size(request: ChatRequest, target: Target) -> str | None:
    """Return a notice about a prompt that may be too long; raise RejectedError for one that is."""
    if sum(map(_count_chars, request.messages)) < _LONG_PROMPT_CHARS:
        return None
    from llmctl.engine.models.context_size import check_context_size

    return check_context_size(request, target.provider.name)


def _count_chars(message: Message) -> int:
    return sum(
        len(getattr(part, "text", "") or getattr(part, "content", "") or getattr(part, "data", b"") or b"")
        for part in message.parts
    )


class TurnAttempt:
    """A turn with one of several models; its block swallows the error after which the next model is tried."""

    def __init__(self, turn: Turn, *, is_last: bool) -> None:
        self.turn = turn
        self.error: LlmctlError | None = None
        self._is_last = is_last

    def falls_back(self, error: LlmctlError) -> bool:
        """Return whether another model is tried: this one could not be reached or paid, and answered nothing."""
        response = self.turn.result.response
        is_empty = response is None or not response.message.parts
        return not self._is_last and is_empty and (isinstance(error, UnavailableError) or error.reason == "quota")

    def __enter__(self) -> Turn:
        return self.turn

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, LlmctlError) or not self.falls_back(error):
            return False
        self.error = error
        return True


def attempt_turn(
    database: Database,
    plan: TurnPlan,
    *,
    note: Callable[[str], object],
    on_commit: Callable[[], None] = lambda: None,
) -> Iterator[TurnAttempt]:
    """Yield the turn, and again with each model of ``--fallback`` while the one before could not be used.

    ``for attempt in attempt_turn(...): with attempt as turn: ...; return`` – ``note`` gets a line for each fallback.
    """
    for other in [resolve(database, ref, plan.runtime.env) for ref in plan.options.fallback]:
        attempt = TurnAttempt(Turn(database, plan, on_commit=on_commit), is_last=False)
        yield attempt
        if attempt.error is None:
            return
        note(f"{attempt.error.message}; falling back to {other.connection or other.provider.name}")
        plan = _fallback_plan(database, plan, other, attempt.turn.result)
    yield TurnAttempt(Turn(database, plan, on_commit=on_commit), is_last=True)


def _fallback_plan(database: Database, plan: TurnPlan, target: Target, result: TurnResult) -> TurnPlan:
    """Return the plan with another model; input that is in the hub already is not added again."""
    if result.chat_id is None:
        return plan.replace(target=target)
    return plan.replace(target=target, input=UserInput(), chat=chats.get(database, result.chat_id))
