"""The interactive chat: reads what is entered, and runs it as a message, a ``/command`` or a ``!command``."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from llmctl.cli.app import App
from llmctl.cli.console.prompts import edit_text
from llmctl.cli.console.terminal import safe_text
from llmctl.cli.turn import slash_commands
from llmctl.cli.turn.interactive_chat import InteractiveChat, TurnRunner
from llmctl.cli.turn.line_input import Entry, LineInput
from llmctl.core import clock
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.humanize import format_compact, format_dollars, format_percent
from llmctl.core.signals import Signalled, handle_signal
from llmctl.engine.billing.cost import find_price, price_key
from llmctl.engine.runtime import run_program
from llmctl.store.records import messages, requests
from llmctl.store.records.settings import list_changed

if TYPE_CHECKING:
    from llmctl.cli.turn.editor import Editor

#: What people type to leave a program.
_LEAVING_WORDS = ("exit", "quit")
#: Limit of the output of a ``!command`` that goes into a message.
_MAX_OUTPUT_BYTES = 1_000_000


class ReplSession:
    """The read-eval-print loop of ``llmctl chat``. Ctrl-C stops an answer, Ctrl-D exits."""

    def __init__(self, app: App, command: TurnRunner) -> None:
        self._app = app
        self._io = app.console.io
        self._session = InteractiveChat(app, command)
        self._input: LineInput | Editor = LineInput(self._io)
        #: Whether Ctrl-C was pressed at the last prompt: the next one leaves.
        self._is_leaving = False

    def run(self) -> None:
        """Read entries and handle them until the user leaves."""
        self._session.open()
        self._input = self._build_input()
        self._session.hold_typing = self._input.hold_typing
        self._note("type /help for commands, Ctrl-D to exit")
        try:
            while self._run_entry():
                pass
        except EOFError:
            self._io.write_stderr("\n")
        finally:
            self._input.close()

    def _build_input(self) -> LineInput | Editor:
        """Return the line editor, where the terminal can show it."""
        has_screen = self._io.stdin_tty and (self._io.stdout_tty or self._io.stderr_tty)
        if not has_screen or self._app.env.get("TERM", "dumb") == "dumb":
            return LineInput(self._io)
        from llmctl.cli.turn.editor import Editor, EditorSources

        database = self._app.hub("read")
        sources = EditorSources(
            read_prompts=partial(messages.list_prompts, database),
            complete=partial(slash_commands.complete, self._session),
            describe_status=self._describe_status,
            edit_text=lambda text: edit_text(self._app.console, text, ".md"),
        )
        keys = list_changed(database).get("chat.keys") or "emacs"
        return Editor(self._io, self._app.env, sources, keys=keys)

    def _run_entry(self) -> bool:
        """Read an entry and handle it; return whether to go on. Errors are shown and do not end the chat."""
        try:
            entry = self._input.read_entry()
        except Signalled as signalled:
            self._handle_signal(signalled)
            if self._is_leaving:
                raise
            self._is_leaving = True
            if isinstance(self._input, LineInput):
                self._io.write_stderr("\n")  # after the ^C that the terminal shows
            self._note("press Ctrl-C again or Ctrl-D to leave")
            return True
        self._is_leaving = False
        try:
            return self._handle_entry(entry)
        except slash_commands.Leave:
            return False
        except LlmctlError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            self._note(f"{error.message}{hint}")
            self._app.console.write_footer()
        except Signalled as signalled:
            self._handle_signal(signalled)
        return True

    def _handle_entry(self, entry: Entry) -> bool:
        """Handle an entry; return False to leave."""
        text, is_typed = entry.text, not entry.is_pasted
        if is_typed and text.strip() in _LEAVING_WORDS:
            return False
        if is_typed and text.startswith("/") and not text.startswith("//"):
            slash_commands.run_command(self._session, text)
        elif is_typed and text.startswith("!") and self._io.stdin_tty:
            self._run_shell_command(text[1:].strip())
        elif text.strip():
            is_escaped = is_typed and text.startswith("//")
            mentions = entry.mentions if self._io.stdin_tty else ()  # a program that writes here attaches no files
            self._session.send(text.removeprefix("/") if is_escaped else text, mentions)
        return True

    def _run_shell_command(self, command: str) -> None:
        """Run a command, show its output, and keep it for the next message."""
        if not command:
            raise UsageError("! needs a command", hint="such as: !git diff")
        kept = bytearray()

        def show(data: bytes) -> None:
            kept.extend(data[: _MAX_OUTPUT_BYTES - len(kept)])
            self._io.write_stderr(safe_text(data.decode("utf-8", "replace")))

        try:
            done = run_program(command, env=self._app.env, on_output=show, max_output_bytes=_MAX_OUTPUT_BYTES)
        except Signalled:
            self._io.write_stderr("\n")
            self._note("stopped; nothing of it joins the next message")
            raise
        output = kept.decode("utf-8", "replace")
        if output and not output.endswith("\n"):
            self._io.write_stderr("\n")
        status = f"(exit status {done.exit_status})\n" if done.exit_status else ""
        fence = "```" if "```" not in output else "~~~~~~"
        self._session.outputs.append(f"$ {command}\n{fence}\n{output.rstrip()}\n{fence}\n{status}".rstrip())
        self._note("its output goes along with the next message; /attach none drops it")

    def _describe_status(self) -> list[str]:
        """Return the parts of the status line: model, what waits, context, costs."""
        session = self._session
        database, chat = session.database, session.chat
        settings, now = list_changed(database), clock.now()
        found = session.command.find_target(database, chat)
        model = found.model if found else chat.model if chat else None
        parts = [model or "no model"]
        if waiting := len(session.files) + len(session.outputs):
            parts.append(f"+{waiting} attached")
        if chat:
            used, cost = requests.get_chat_usage(database, chat.id)
            price = (
                find_price(database, price_key(found), (model,), moment=clock.parse(now), looks_up=False)
                if found
                else None
            )
            window = price.context_window if price else None
            share = f" of {format_compact(window)} ({format_percent(used, window)})" if window else ""
            parts += [f"context {format_compact(used)}{share}"] if used else []
            parts += [f"{format_dollars(cost)} chat"] if cost is not None else []
        spent, _ = requests.get_spending(database, f"{now[:10]}T00:00:00.000+00:00")
        limit = settings.get("budget.day")
        parts.append(f"{format_dollars(spent)} today" + (f" of {format_dollars(limit)}" if limit else ""))
        cap = session.command.options.max_cost
        return parts if cap is None else [*parts, f"cap {format_dollars(cap)}"]

    def _handle_signal(self, signalled: Signalled) -> None:
        """Survive Ctrl-C, which stops only the answer; raise other signals."""
        if signalled.signum != signal.SIGINT:
            raise signalled
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, handle_signal)

    def _note(self, text: str) -> None:
        self._app.console.note(text)
