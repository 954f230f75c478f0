"""One turn: from a prompt that is safe in the hub to an answer that is finished with a status.

``with Turn(...) as turn: for event in turn.events(): ...`` – a ``with`` block, because what goes wrong in the
consumer (Ctrl-C while printing, a closed pipe) is not thrown into a generator, but reaches ``__exit__``.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import IncompleteError, LlmctlError, PendingError, StorageError
from llmctl.core.events import TextDelta
from llmctl.core.ids import new_id
from llmctl.core.messages import Message
from llmctl.engine.billing.tracker import Meter
from llmctl.engine.chats import attachments
from llmctl.engine.connections.target import Access, access
from llmctl.engine.jobs.heartbeat import Heartbeat
from llmctl.engine.tools import records, toolset
from llmctl.engine.turn import history, validate_output
from llmctl.engine.turn.begin import abandon, message_writes, stage
from llmctl.engine.turn.model_call import Caller
from llmctl.engine.turn.plan import Plan, request_of, require_talk
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.result import Note, Outcome, Started, TurnEvent
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations, threads
from llmctl.store.writes import Insert

if TYPE_CHECKING:
    from llmctl.engine.tools.loop import Toolbox


class Turn:
    """Everything from taking the thread's lock to letting go of it."""

    def __init__(self, database: Database, plan: Plan) -> None:
        self._database = database
        self._plan = plan
        self._started = time.monotonic()
        self._closed = False
        #: The calls of the last step, as rows.
        self._calls: list[Row] = []
        #: Messages of this turn that are in no hub (nothing is logged).
        self._unlogged: list[Message] = []
        target = plan.target
        self.outcome = Outcome(provider=target.provider.name, model=target.model, connection=target.connection)
        self._correction = validate_output.Correction(plan.manner, self.outcome)

    def __enter__(self) -> Turn:
        require_talk(self._plan.target)
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
        self._secrets = allowed.secrets
        self._staged = stage(self._database, plan, redact, job_id)
        if plan.keep.log and plan.ask.goes_on:
            plan = self._plan = replace(plan, tools=toolset.resumed(self._database, self._staged.thread_id, plan.tools))
        self._recorder = Recorder(self._database, self._staged, plan.keep, plan.around, redact, plan.on_idle)
        self._meter = Meter(self._database, plan.target, plan.manner.caps)
        self._caller = Caller(self._recorder, plan, allowed.endpoint, redact, self._meter)
        self._heartbeat = Heartbeat(self._database.path, self._staged.job_id)
        if plan.keep.log:
            self.outcome.chat_id = self._staged.chat_id
            self.outcome.thread_id = self._staged.thread_id
            self.outcome.session_id = plan.party.session_id if plan.party else None
        else:
            self._unlogged += plan.ask.spoken()
        self._earlier = threads.unanswered_tokens(self._database, self._staged.thread_id)

    def events(self) -> Iterator[TurnEvent]:
        """Yield what happens, as it happens; every piece of text is in the hub before it is yielded."""
        steps = self._plan.manner.max_steps
        if (yield from self._answer_parked_calls()):
            return
        for number in range(1, steps + 1):
            response = yield from self._step(number)
            yield from map(records.run_of, self._calls)
            if not response.message.tool_calls:
                told = self._correction.needed(response, is_last=number == steps)
                if told is None:
                    self._close("completed", None)
                    return
                self._send_back(response, told)
                yield Note(self._correction.note())
            elif number < steps and (yield from self._answer_calls(response)):
                return
        raise PendingError(
            f"stopped after {steps} step{'s' if steps > 1 else ''} with tool calls unanswered",
            hint="allow more with --max-steps"
            if not self.outcome.chat_id
            else f"go on with: llmctl chat --chat {self.outcome.chat_id[:8]} (or allow more with --max-steps)",
            reason="max_steps",
        )

    def settle(self) -> None:
        """Commit what came so far: for a consumer that shows each event as it gets it, and no ``on_idle``."""
        self._recorder.settle()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        self._close_tools()
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
        asked = self._plan.hooks.asked(request)
        # Messages that a hook changed stand in no row: the whole body is kept then.
        sent = entries if asked.messages is request.messages else []
        step = self._caller.begin(asked, sent, number)
        self.outcome.steps = number
        self.outcome.request_id = step.request_id
        self.outcome.message_id = step.message_id if self._plan.keep.log else None
        yield Started(self.outcome.chat_id, self.outcome.thread_id, self.outcome.message_id, step.request_id, number)
        yield from self._caller.events(asked, sent)
        response = self._finish_step("completed", None)
        self._plan.hooks.answered(response)
        return response

    def _entries(self) -> list[history.Entry]:
        entries = history.load(self._database, self._staged.thread_id, provider=self._plan.target.provider.name)
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
        self._calls = records.call_rows(step.message_id, calls, self._staged, self.outcome.steps, self._plan.tools)
        runs = [Insert("tool_invocations", row) for row in self._calls]
        response, kept = self._recorder.finish(status, self._totals(), billed=bill.columns(), error=error, also=runs)
        self.outcome.tool_runs += map(records.run_of, self._calls)
        if not kept:
            self.outcome.message_id = None
        return response

    def _send_back(self, response: ChatResponse, told: Message) -> None:
        if self._plan.keep.log:
            self._recorder.write(*validate_output.writes(told, self.outcome.message_id, self._staged))
        else:
            self._unlogged += [response.message, told]

    def _answer_parked_calls(self) -> Generator[TurnEvent, None, bool]:
        """Answer what an earlier turn left unanswered, where this one says nothing new; True: a tool ended the turn."""
        if not (self._plan.keep.log and self._plan.ask.goes_on):
            return False
        rows = invocations.unanswered(self._database, self._staged.thread_id)
        if rows and (yield from self._answer(rows)):
            return True
        final = invocations.final_answer(self._database, self._staged.thread_id)
        if final is not None:
            yield from self._end_with(final)
        return final is not None

    def _answer_calls(self, response: ChatResponse) -> Generator[TurnEvent, None, bool]:
        """Answer the calls of the step that just ended; True: a tool ended the turn."""
        if not self._plan.keep.log:
            self._unlogged.append(response.message)
        return (yield from self._answer(self._calls))

    def _answer(self, rows: list[Row]) -> Generator[TurnEvent, None, bool]:
        yield from self._toolbox.answer(rows)
        told = self._toolbox.take_told()
        if not self._plan.keep.log:
            self._unlogged += told
        if self._toolbox.final is None:
            return False
        yield from self._end_with(self._toolbox.final)
        return True

    def _end_with(self, text: str) -> Iterator[TurnEvent]:
        """Finish the turn with a tool's answer instead of the model's."""
        message = Message.of("assistant", text)
        answer = message_writes(self._staged, message)[0]
        assert isinstance(answer, Insert)
        self._recorder.write(Insert(answer.table, {**answer.row, **self._totals()}))
        self.outcome.message_id = answer.row["id"] if self._plan.keep.log else None
        self.outcome.response = ChatResponse(message, finish_reason="stop")
        self.outcome.new_messages.append(message)
        yield TextDelta(text)
        self._close("completed", None)

    @cached_property
    def _toolbox(self) -> Toolbox:
        from llmctl.engine.tools.loop import Toolbox  # threads and processes: only for those who have a call

        return Toolbox(self._database, self._plan, self._staged, self._recorder, self.outcome, self._secrets)

    def _close_tools(self) -> None:
        if "_toolbox" in self.__dict__:
            self._toolbox.close()

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
