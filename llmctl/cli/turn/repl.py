"""The interactive chat: one turn per line, and commands that start with a slash."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol

from llmctl.cli.app import App
from llmctl.cli.listing_args import sanitize
from llmctl.cli.turn.line_input import Entry, LineInput
from llmctl.core.chat import Message
from llmctl.core.errors import LlmctlError, StorageError, UsageError
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.core.signals import Signalled, handle_signal
from llmctl.engine.chats import fork
from llmctl.engine.connections import target
from llmctl.engine.inspect import transcript
from llmctl.engine.turn import begin
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.engine.turn.state import TurnResult
from llmctl.formats.text import render_conversation
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow

#: What people type to leave a program.
_LEAVING_WORDS = ("exit", "quit")
_UNFINISHED: dict[begin.Unfinished, str] = {
    "answer": "the last message has no answer",
    "again": "the last answer broke off",
    "calls": "tool calls are unanswered",
}


class TurnRunner(Protocol):
    """What runs the turns: the ``chat`` command."""

    @property
    def system(self) -> str | None: ...
    def run_turn(self, user_input: UserInput, chat: ChatRow | None = None) -> TurnResult: ...
    def build_plan(self, database: Database, user_input: UserInput, chat: ChatRow | None = None) -> TurnPlan: ...
    def find_chat(self, database: Database) -> ChatRow | None: ...
    def reload_chat(self, database: Database, chat: ChatRow | None) -> ChatRow | None: ...
    def use_model(self, ref: str) -> None: ...


class ReplSession:
    """The read-eval-print loop of ``llmctl chat``. Ctrl-C stops an answer, Ctrl-D exits."""

    def __init__(self, app: App, command: TurnRunner) -> None:
        self._app = app
        self._chat_command = command
        self._input = LineInput(app.console.io)
        self._chat: ChatRow | None = None
        self._unsaved_messages: list[Message] = []
        self._system: str | None = command.system
        self._commands: dict[str, tuple[str, Callable[[str], bool]]] = {
            "help": ("show these commands", self._show_help),
            "exit": ("exit (also Ctrl-D)", lambda _: False),
            "quit": ("exit", lambda _: False),
            "model": ("show or change the model: /model REF", self._change_model),
            "system": ("show or change the system prompt: /system TEXT", self._change_system_prompt),
            "undo": ("fork the chat before your last message", self._undo),
            "continue": ("finish what is unfinished", self._continue),
            "retry": ("send your last message again, in a fork", self._retry),
            "stats": ("show tokens, cost and time of this chat", self._show_stats),
            "chat": ("show the chat's id and name", self._show_chat),
        }

    def run(self) -> None:
        """Read lines and handle them until the user exits."""
        database = self._app.hub("create")
        self._chat = self._chat_command.reload_chat(database, None) or self._chat_command.find_chat(database)
        if self._chat is not None:
            self._show_last_exchange(database, self._chat)
        self._note("type /help for commands, Ctrl-D to exit")
        is_running = True
        while is_running:
            try:
                entry = self._input.read_entry()
            except EOFError:
                self._app.console.io.write_stderr("\n")
                return
            except Signalled as signalled:
                self._handle_signal(signalled)
                continue
            is_running = self._handle_entry(entry)

    def _handle_entry(self, entry: Entry) -> bool:
        """Handle what was entered; return whether to continue. Errors are shown and do not end the chat."""
        text = entry.text
        if text.strip() in _LEAVING_WORDS and not entry.is_pasted:
            return False
        try:
            if text.startswith("/") and not text.startswith("//") and not entry.is_pasted:
                return self._run_command(text)
            if text.strip():
                is_escaped = text.startswith("//") and not entry.is_pasted
                with self._input.hold_typing():
                    self._run_turn(UserInput(prompt=text.removeprefix("/") if is_escaped else text))
        except LlmctlError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            self._note(f"{error.message}{hint}")
            self._app.console.write_footer()
        except Signalled as signalled:
            self._handle_signal(signalled)
        return True

    def _run_turn(self, user_input: UserInput) -> None:
        if self._system is not None:
            user_input = user_input.replace(system=self._system)
        try:
            with_history = user_input.replace(messages=tuple(self._unsaved_messages))
            result = self._chat_command.run_turn(with_history, self._chat)
            if result.chat_id is None:  # nothing is stored: keep the conversation here
                self._unsaved_messages += [*user_input.to_messages(), *result.new_messages]
        except StorageError:
            self._app.close()  # reopening the hub replays the writes that failed
            raise
        finally:
            self._system = None
            self._chat = self._chat_command.reload_chat(self._app.hub("read"), self._chat)

    def _run_command(self, line: str) -> bool:
        name, _, rest = line[1:].partition(" ")
        if name not in self._commands:
            raise UsageError(f'no command "/{name}"', hint="type /help to list commands, or // to send a slash")
        return self._commands[name][1](rest.strip())

    def _show_help(self, _: str) -> bool:
        for name, (description, _command) in self._commands.items():
            self._app.console.io.write_stderr(f"  /{name:8} {description}\n")
        self._app.console.io.write_stderr("  End a line with \\ to continue it; start it with // to send a slash.\n")
        return True

    def _change_model(self, ref: str) -> bool:
        if ref:
            resolved = target.resolve(self._app.hub("read"), ref, self._app.env)
            self._chat_command.use_model(ref)
            self._note(f"now using {resolved.model} ({resolved.connection or resolved.provider.name})")
        else:
            plan = self._chat_command.build_plan(self._app.hub("read"), UserInput(), self._chat)
            self._note(f"{plan.target.model} ({plan.target.connection or plan.target.provider.name})")
        return True

    def _change_system_prompt(self, text: str) -> bool:
        if text:
            self._system = text
            self._note("the next message will use this system prompt")
        else:
            self._note(self._system or (self._chat.instructions if self._chat else None) or "no system prompt")
        return True

    def _undo(self, _: str) -> bool:
        before = self._require_chat().id[:8]
        self._rewind()
        self._note(f"forked before your last message; the original is chat {before}")
        return True

    def _continue(self, _: str) -> bool:
        self._run_turn(UserInput())
        return True

    def _show_last_exchange(self, database: Database, chat: ChatRow) -> None:
        """Show the last prompt and what followed, and say what is unfinished."""
        thread = chats.find_thread(database, chat.id)
        if thread is None:
            return
        messages = transcript.conversation(database, thread.id, steps=False)
        last = max((index for index, row in enumerate(messages) if row["role"] == "user"), default=0)
        exchange = map(ExportedMessage.from_record, sanitize(self._app.console, messages[last:]))
        for piece in render_conversation(exchange):
            self._app.console.io.write_stderr(piece)
        kind = begin.find_unfinished(database, thread.id)
        if kind is not None:
            self._note(f"{_UNFINISHED[kind]}; /continue finishes it")

    def _retry(self, _: str) -> bool:
        self._run_turn(UserInput(prompt=self._rewind()))
        return True

    def _rewind(self) -> str:
        """Continue in a fork before the last user message; return the text of that message."""
        self._chat, text = fork.rewind_chat(self._app.hub("write"), self._require_chat(), self._app.caller_info())
        return text

    def _show_stats(self, _: str) -> bool:
        from llmctl.store.stats import query

        numbers = query.chat_stats(self._app.hub("read"), self._require_chat().id)
        for name in ("requests", "input_tokens", "output_tokens", "cost", "duration_ms"):
            self._app.console.io.write_stderr(
                f"  {name.replace('_', ' '):14} {'' if numbers[name] is None else numbers[name]}\n"
            )
        return True

    def _show_chat(self, _: str) -> bool:
        chat = self._require_chat()
        self._note(f"{chat.id}{' ' + chat.name if chat.name else ''}")
        return True

    def _require_chat(self) -> ChatRow:
        if self._chat is None:
            raise UsageError("this chat has no messages yet")
        return self._chat

    def _handle_signal(self, signalled: Signalled) -> None:
        """Survive Ctrl-C, which stops only the answer; raise other signals."""
        if signalled.signum != signal.SIGINT:
            raise signalled
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, handle_signal)
        self._app.console.io.write_stderr("\n")

    def _note(self, text: str) -> None:
        self._app.console.note(text)
