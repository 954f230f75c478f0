"""One turn: from a prompt that is safe in the hub to an answer that is finished with a status.

``with Turn(...) as turn: for event in turn.events(): ...`` – a ``with`` block, because what goes wrong in the
consumer (Ctrl-C while printing, a closed pipe) is not thrown into a generator, but reaches ``__exit__``.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import IncompleteError, LlmctlError, PendingError, StorageError
from llmctl.core.ids import new_id
from llmctl.core.messages import Message
from llmctl.engine import attachments, correcting, history, toolbox
from llmctl.engine.calling import Caller
from llmctl.engine.heartbeat import Heartbeat
from llmctl.engine.metering import Meter
from llmctl.engine.outcome import Note, Outcome, Started, ToolRun, TurnEvent
from llmctl.engine.plan import Plan, request_of
from llmctl.engine.recorder import Recorder
from llmctl.engine.redaction import Redaction
from llmctl.engine.staging import abandon, stage
from llmctl.engine.target import Access, access
from llmctl.store import invocations, threads
from llmctl.store.database import Database


class Turn:
    """Everything from taking the thread's lock to letting go of it."""

    def __init__(self, database: Database, plan: Plan) -> None:
        self._database = database
        self._plan = plan
        self._started = time.monotonic()
        self._closed = False
        #: Messages of this turn that are in no hub (nothing is logged).
        self._unlogged: list[Message] = []
        target = plan.target
        self.outcome = Outcome(provider=target.provider.name, model=target.model, connection=target.connection)
        self._correction = correcting.Correction(plan.manner, self.outcome)

    def __enter__(self) -> Turn:
        plan = self._plan = replace(
            self._plan, ask=attachments.ready(self._plan.ask, self._plan.target, self._plan.around)
        )
        # The key first: without it nothing is worth writing down.
        allowed = access(plan.target, plan.around.env, home=plan.around.home, on_terminal=plan.around.on_terminal)
        job_id = new_id()
        try:
            self._begin(allowed, job_id)
        except BaseException as error:  # from here to the end of this method nobody else would let go of the thread
            abandon(self._database, job_id, error)
            if isinstance(error, LlmctlError) and plan.chat and plan.keep.log:
                error.chat_id = plan.chat["id"]
            raise
        return self

    def _begin(self, allowed: Access, job_id: str) -> None:
        plan, redact = self._plan, Redaction(allowed.secrets)
        self._staged = stage(self._database, plan, redact, job_id)
        self._recorder = Recorder(self._database, self._staged, plan.keep, plan.around, redact, plan.on_idle)
        self._meter = Meter(self._database, plan.target, plan.manner.caps)
        self._caller = Caller(
            self._recorder, plan.target, allowed.endpoint, plan.manner, plan.origin, plan.around, redact, self._meter
        )
        self._heartbeat = Heartbeat(self._database.path, self._staged.job_id)
        if plan.keep.log:
            self.outcome.chat_id = self._staged.chat_id
            self.outcome.thread_id = self._staged.thread_id
        else:
            self._unlogged += plan.ask.spoken()
        self._earlier = threads.unanswered_tokens(self._database, self._staged.thread_id)

    def events(self) -> Iterator[TurnEvent]:
        """Yield what happens, as it happens; every piece of text is in the hub before it is yielded."""
        steps = self._plan.manner.max_steps
        yield from self._answer_parked_calls()
        for number in range(1, steps + 1):
            response = yield from self._step(number)
            for call in response.message.tool_calls:
                yield ToolRun(call.id, call.name, call.arguments)
            if not response.message.tool_calls:
                told = self._correction.needed(response, is_last=number == steps)
                if told is None:
                    self._close("completed", None)
                    return
                self._send_back(response, told)
                yield Note(self._correction.note())
            elif number < steps:
                yield from self._answer_calls(response)
        raise PendingError(
            f"stopped after {steps} step{'s' if steps > 1 else ''} with tool calls unanswered",
            hint="allow more with --max-steps"
            if not self.outcome.chat_id
            else f"go on with: llmctl chat --chat {self.outcome.chat_id[:8]} (or allow more with --max-steps)",
            reason="max_steps",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        if not self._closed:
            self._break_off(error)
        problem = self._recorder.storage_error
        if problem and (error is None or isinstance(error, LlmctlError)):
            raise self._storage_error(problem) from error

    def _step(self, number: int) -> Generator[TurnEvent, None, ChatResponse]:
        entries = self._entries()
        if self._plan.manner.history is not None:
            entries, dropped = history.last_turns(entries, self._plan.manner.history)
            if dropped and number == 1:
                yield Note(f"left out the oldest {dropped} turn{'s' if dropped > 1 else ''}, as --history says")
        history.require_prompt(entries)
        left = attachments.fit((entry.message for entry in entries), self._plan.target)[1] if number == 1 else []
        if left:
            yield Note(f"left out what this model does not take: {', '.join(left)}")
        request = request_of(self._plan, entries)
        step = self._caller.begin(request, entries, number)
        self.outcome.steps = number
        self.outcome.request_id = step.request_id
        self.outcome.message_id = step.message_id if self._plan.keep.log else None
        yield Started(self.outcome.chat_id, self.outcome.thread_id, self.outcome.message_id, step.request_id, number)
        yield from self._caller.events(request, entries)
        return self._finish_step("completed", None)

    def _entries(self) -> list[history.Entry]:
        entries = history.load(self._database, self._staged.thread_id)
        if not self._plan.keep.log and self._plan.ask.goes_on:
            while entries and entries[-1].message.role == "assistant":  # the broken answer that is asked for again
                entries.pop()
        return entries + [history.Entry(0, message) for message in self._unlogged]

    def _finish_step(self, status: str, error: LlmctlError | None) -> ChatResponse:
        step = self._recorder.step
        assert step
        response = step.fold.response()
        bill = self._meter.bill(step, response, error)
        self.outcome.add(response, bill.charge.cost)
        if step.delivered and self.outcome.time_to_first_token_ms is None:
            self.outcome.time_to_first_token_ms = step.time_to_first_token_ms
        calls = response.message.tool_calls if status == "completed" else ()
        runs = toolbox.call_writes(step.message_id, calls, self._staged, self.outcome.steps)
        response, kept = self._recorder.finish(status, self._totals(), billed=bill.columns(), error=error, also=runs)
        self.outcome.tool_runs += [ToolRun(call.id, call.name, call.arguments) for call in calls]
        if not kept:
            self.outcome.message_id = None
        return response

    def _send_back(self, response: ChatResponse, told: Message) -> None:
        if self._plan.keep.log:
            self._recorder.write(*correcting.writes(told, self.outcome.message_id, self._staged))
        else:
            self._unlogged += [response.message, told]

    def _answer_parked_calls(self) -> Iterator[TurnEvent]:
        """Answer what an earlier turn left unanswered, where this one says nothing new."""
        if self._plan.keep.log and self._plan.ask.goes_on:
            yield from self._answer_pending()

    def _answer_calls(self, response: ChatResponse) -> Iterator[TurnEvent]:
        """Answer the calls of the step that just ended."""
        if self._plan.keep.log:
            yield from self._answer_pending()
            return
        self._unlogged.append(response.message)
        for call in response.message.tool_calls:
            part = toolbox.unavailable(call.id, call.name)
            self._unlogged.append(Message("tool", (part,)))
            yield self.outcome.answered(ToolRun(call.id, call.name, call.arguments, part.content, "failed"))

    def _answer_pending(self) -> Iterator[TurnEvent]:
        for invocation in invocations.pending(self._database, self._staged.thread_id):
            run, writes = toolbox.answer(invocation, self._staged)
            self._recorder.write(*writes)
            yield self.outcome.answered(run)

    def _totals(self) -> dict[str, Any]:
        usage = self.outcome.usage
        known = self.outcome.response is not None and self.outcome.response.usage is not None
        return {
            "model_id": self.outcome.model,
            "input_tokens": self._earlier[0] + usage["input_tokens"] if known else None,
            "output_tokens": self._earlier[1] + usage["output_tokens"] if known else None,
        }

    def _break_off(self, error: BaseException | None) -> None:
        """Finish a turn that did not come to its end, with what came and why it stopped."""
        known = error if isinstance(error, LlmctlError) else None
        # A plain LlmctlError is the consumer's: stdout cannot be written.
        stopped = known is None or known.code == LlmctlError.code
        status = "interrupted" if stopped else "incomplete" if isinstance(known, IncompleteError) else "failed"
        if self._recorder.step:
            self._finish_step(status, known)
        if known is None:
            self._close("cancelled", "interrupted", outcome="interrupted")
        elif isinstance(known, PendingError):
            self._close("completed", None, outcome="pending", exit_code=known.exit_code)
        else:
            self._close("failed", known.message, outcome=status, exit_code=known.exit_code)
        if known:
            known.chat_id, known.request_id = self.outcome.chat_id, self.outcome.request_id

    def _close(self, status: str, error: str | None, *, outcome: str = "completed", exit_code: int = 0) -> None:
        self._recorder.close(status, error, exit_code)
        self._closed = True
        self.outcome.status = outcome
        self.outcome.duration_ms = clock.elapsed_ms(self._started)

    def _storage_error(self, problem: StorageError) -> StorageError:
        place = self._recorder.spooled_to
        error = StorageError(
            f"the answer could not be stored: {problem.message}",
            hint=f"what is missing waits in {place} and goes into the hub with the next run"
            if place
            else "no other place took it: what was shown is all there is",
            reason=problem.reason,
        )
        error.chat_id, error.request_id = self.outcome.chat_id, self.outcome.request_id
        return error
