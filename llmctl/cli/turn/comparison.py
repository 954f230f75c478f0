"""``chat -m A -m B``: ask several models at once, each in a thread, and show their answers one under the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from queue import SimpleQueue
from typing import Any, Literal

from llmctl.cli.app import App
from llmctl.cli.console.console import Console, Streams
from llmctl.cli.turn.printer import TurnPrinter, name_source
from llmctl.core.errors import IncompleteError, LlmctlError, PartialError, UsageError
from llmctl.core.interrupt import Interrupt
from llmctl.core.signals import Interrupted, Signalled, block_signals
from llmctl.core.stored_values import dumps
from llmctl.engine.chats import comparison
from llmctl.engine.runtime import Notice, TurnEvent
from llmctl.engine.turn.plan import TurnPlan
from llmctl.engine.turn.state import TurnResult
from llmctl.engine.turn.turn import attempt_turn
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.records.types import ChatRow

#: How long the turns get to finish their rows after a signal.
_STOP_GRACE_S = 10.0

#: Everything so far is committed and may be shown.
COMMITTED: Literal["committed"] = "committed"
Item = TurnEvent | Literal["committed"] | BaseException | None


@dataclass(slots=True)
class ModelRun:
    """The turn of one model."""

    ref: str
    plan: TurnPlan
    interrupt: Interrupt = field(default_factory=Interrupt)
    result: TurnResult = field(default_factory=TurnResult)
    error: LlmctlError | None = None
    #: What was not shown yet, because an earlier model still answers.
    backlog: deque[Item] = field(default_factory=deque)
    printer: TurnPrinter | None = None

    @property
    def label(self) -> str:
        model = self.plan.target.model
        return self.ref if model in self.ref else f"{self.ref} ({model})"


class ModelComparison:
    """Runs a turn with each plan at the same time, and shows them in order."""

    def __init__(self, app: App, plans: Sequence[tuple[str, TurnPlan]]) -> None:
        self._app = app
        self.runs = [
            ModelRun(ref, plan.replace(tools=plan.tools.replace(ask=None), options=plan.options.replace(output=None)))
            for ref, plan in plans
        ]
        for run in self.runs:
            run.plan = run.plan.replace(runtime=run.plan.runtime.replace(interrupt=run.interrupt))
        self._path = app.hub_path
        self._output = plans[0][1].options.output
        self._console = _redirect(app.console) if self._output else app.console
        self._queue: SimpleQueue[tuple[int, Item]] = SimpleQueue()
        self._documents: dict[int, Any] = {}

    def run(self) -> None:
        """Ask all models. Raises PartialError if some of them failed, and the error of the first if all did."""
        indexes = range(len(self.runs))
        threads = [threading.Thread(target=self._run_turn, args=(index,), daemon=True) for index in indexes]
        try:
            with block_signals():
                for thread in threads:
                    thread.start()
            for index, item in self._order_items():
                self._show(index, item)
        except Signalled:
            for run in self.runs:
                run.interrupt.set()
            for thread in threads:
                thread.join(_STOP_GRACE_S)
            raise
        finally:
            for run in self.runs:
                if run.printer is not None:
                    run.printer.close()
        self._finish()

    def _run_turn(self, index: int) -> None:
        """Run one turn, in its own thread and on its own connection to the hub."""
        run = self.runs[index]
        put = self._queue.put
        end: BaseException | None = None
        try:
            with _open_hub(self._path) as database:
                for attempt in attempt_turn(
                    database,
                    run.plan,
                    note=lambda text: put((index, Notice(text))),
                    on_commit=lambda: put((index, COMMITTED)),
                ):
                    with attempt as turn:
                        run.result = turn.result
                        with turn:
                            for event in turn.events():
                                put((index, event))
                        break
        except Interrupted:
            end = IncompleteError("interrupted", reason="interrupted")
        except BaseException as error:
            end = error
        put((index, end))

    def _order_items(self) -> Iterator[tuple[int, Item]]:
        """Yield what comes: as it comes in JSON, else the models one after the other."""
        left, current = len(self.runs), 0
        while left:
            index, item = self._queue.get()
            left -= item is None or isinstance(item, BaseException)
            if self._console.format.is_json:
                yield index, item
                continue
            self.runs[index].backlog.append(item)
            while current < len(self.runs) and self.runs[current].backlog:
                shown = self.runs[current].backlog.popleft()
                yield current, shown
                current += shown is None or isinstance(shown, BaseException)

    def _show(self, index: int, item: Item) -> None:
        run = self.runs[index]
        if run.printer is None:
            run.printer = self._open_printer(run, is_first=index == 0)
        if item == COMMITTED:
            run.printer.flush()
        elif item is None or isinstance(item, BaseException):
            self._show_end(run, run.printer, item, index)
        else:
            run.printer.show(item)

    def _open_printer(self, run: ModelRun, *, is_first: bool) -> TurnPrinter:
        console, target = self._console, run.plan.target
        if not console.format.is_json:
            heading = f"## {run.label}"
            if console.io.stdout_tty:
                from llmctl.cli.console.terminal import colorize, safe_line, supports_color

                heading = safe_line(run.label)
                heading = colorize(heading, "bold") if supports_color(console.env, True) else heading
            console.io.write(("" if is_first else "\n") + heading + "\n\n")
        return TurnPrinter(
            console,
            run.plan.options,
            source=target.connection or target.provider.name,
            has_tools=bool(run.plan.tools),
            tags={"model": target.model, "connection": target.connection},
        )

    def _show_end(self, run: ModelRun, printer: TurnPrinter, end: BaseException | None, index: int) -> None:
        if end is not None and not isinstance(end, LlmctlError):
            raise end
        error = end
        if error is None:
            try:
                self._finish_answer(run, printer, index)
            except LlmctlError as failure:  # no block for -x
                error = failure
        if error is not None:
            run.error = error
            self._show_failure(run, printer, error, index)
        printer.print_usage(run.result)
        printer.close()

    def _finish_answer(self, run: ModelRun, printer: TurnPrinter, index: int) -> None:
        if self._console.format.kind == "json":
            self._documents[index] = printer.build_document(run.result)
        else:
            printer.finish(run.result)

    def _show_failure(self, run: ModelRun, printer: TurnPrinter, error: LlmctlError, index: int) -> None:
        from llmctl.cli.errors import error_object

        name_source(error, run.result)
        error.chat_id, error.request_id = run.result.chat_id, run.result.request_id
        if self._console.format.kind == "json":
            self._documents[index] = {**printer.build_document(run.result, is_failed=True), **error_object(error)}
            return
        printer.fail(run.result, error)
        if not self._console.format.is_json:
            self._console.write_stderr_line(f"llmctl: {run.label}: {error.message}")
            if error.hint:
                self._console.write_stderr_line(f"hint: {error.hint}")

    def _finish(self) -> None:
        if self._console.format.kind == "json":
            documents = [self._documents[index] for index in range(len(self.runs))]
            self._console.io.write(dumps(documents) + "\n")
        ids = [run.result.chat_id for run in self.runs if run.result.chat_id]
        answered = [run.result.chat_id for run in self.runs if run.error is None and run.result.chat_id]
        comparison.link_branches(self._app.hub("write"), ids, answered)
        self._raise_failure()
        if self._output:
            from llmctl.cli.atomic_write import write_file

            assert isinstance(self._console.io.stdout, StringIO)
            write_file(self._output, self._console.io.stdout.getvalue())

    def _raise_failure(self) -> None:
        failed = [run for run in self.runs if run.error is not None]
        if failed and len(failed) == len(self.runs):
            first = failed[0].error
            assert first
            raise type(first)(f"all {len(failed)} models failed", reason=first.reason, status_code=first.status_code)
        if failed:
            names = ", ".join(f'"{run.ref}"' for run in failed)
            raise PartialError(f"{len(failed)} of {len(self.runs)} models failed: {names}", reason="some_models")


def choose_branch(app: App, database: Database, branches: Sequence[ChatRow]) -> ChatRow:
    """Ask which model's chat goes on and return it. Raises UsageError with the refs off a terminal."""
    from llmctl.cli.console.prompts import ask

    labels = [comparison.format_branch(database, chat) for chat in branches]
    refs = "\n".join(f"{label}: llmctl chat --chat {chat.id[:8]}" for label, chat in zip(labels, branches, strict=True))
    error = UsageError(
        f"the last prompt went to {len(branches)} models: say which one goes on", hint=refs, reason="branches"
    )
    if not (app.console.io.stderr_tty and app.console.io.stdin_tty):
        raise error
    for number, label in enumerate(labels, 1):
        app.console.write_stderr_line(f"  {number}  {label}")
    while answer := ask(app.console, "Which one goes on? Number or model: "):
        try:
            return comparison.keep_branch(
                database, comparison.find_branch(database, branches, answer.strip()), branches
            )
        except LlmctlError as problem:
            app.console.note(f"{problem.message}; {problem.hint}")
    raise error


def _redirect(console: Console) -> Console:
    """Return a console whose standard output is kept in memory."""
    streams = Streams(console.io.stdin, StringIO(), console.io.stderr)
    redirected = Console(console.env, streams)
    redirected.quiet, redirected.format = console.quiet, console.format
    return redirected


def _open_hub(path: str) -> Any:
    from contextlib import closing

    return closing(opening.open_hub(path, "write"))
