"""A conversation that stays open: one turn a line, and commands that begin with a slash."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmctl.cli.app import App
from llmctl.core.errors import LlmctlError, StorageError, UsageError
from llmctl.core.messages import Message
from llmctl.core.signals import Signalled, handle
from llmctl.engine.chats import rewind
from llmctl.engine.connections import target
from llmctl.engine.turn.options import Ask
from llmctl.store.database import Row

if TYPE_CHECKING:
    from llmctl.cli.turn.chat import Conversation

_PROMPT = "> "
_MORE = "… "


class Session:
    """The loop of ``llmctl chat`` on a terminal. Ctrl-C stops an answer, Ctrl-D leaves."""

    def __init__(self, app: App, conversation: Conversation) -> None:
        self._app = app
        self._conversation = conversation
        self._chat: Row | None = None
        self._memory: list[Message] = []
        self._system: str | None = conversation.system
        self._commands: dict[str, tuple[str, Callable[[str], bool]]] = {
            "help": ("show these commands", self._help),
            "exit": ("leave (also Ctrl-D)", lambda _: False),
            "quit": ("leave", lambda _: False),
            "model": ("show or change the model: /model REF", self._model),
            "system": ("show or change the system prompt: /system TEXT", self._system_prompt),
            "undo": ("go back before your last message, in a fork", self._undo),
            "retry": ("ask your last message again, in a fork", self._retry),
            "stats": ("show tokens and time of this chat", self._stats),
            "chat": ("show the chat's id and name", self._show_chat),
        }

    def run(self) -> None:
        """Read, ask, show; until the user leaves."""
        with_history(self._app)
        database = self._app.hub("create")
        self._chat = self._conversation.last_chat(database, None) or self._conversation.chat(database)
        self._say("/help shows the commands, Ctrl-D leaves")
        going = True
        while going:
            try:
                line = self._read()
            except EOFError:
                self._app.io.say("\n")
                return
            except Signalled as signalled:
                self._survive(signalled)
                continue
            going = self._do(line)

    def _do(self, line: str) -> bool:
        """Do what a line says; return whether the conversation goes on. Errors are shown and survived."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._command(line)
            if line.strip():
                self._turn(Ask(prompt=line.removeprefix("/") if line.startswith("//") else line))
        except LlmctlError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            self._say(f"{error.message}{hint}")
        except Signalled as signalled:
            self._survive(signalled)
        return True

    def _turn(self, ask: Ask) -> None:
        if self._system is not None:
            ask = ask._replace(system=self._system)
        try:
            outcome = self._conversation.turn(ask._replace(messages=tuple(self._memory)), self._chat)
            if outcome.chat_id is None:  # nothing is kept: the conversation is remembered here
                self._memory += [*ask.spoken(), *outcome.new_messages]
        except StorageError:
            self._app.close()  # opening the hub again takes in what it did not take
            raise
        finally:
            self._system = None
            self._chat = self._conversation.last_chat(self._app.hub("read"), self._chat)

    def _read(self) -> str:
        """Read a line; one that ends in a backslash goes on."""
        lines = [input(_PROMPT)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(input(_MORE))
        return "\n".join(lines)

    def _command(self, line: str) -> bool:
        name, _, rest = line[1:].partition(" ")
        if name not in self._commands:
            raise UsageError(f'no command "/{name}"', hint="/help shows them; begin with // to say it to the model")
        return self._commands[name][1](rest.strip())

    def _help(self, _: str) -> bool:
        for name, (what, _command) in self._commands.items():
            self._app.io.say(f"  /{name:8} {what}\n")
        self._app.io.say("  A line that ends in \\ goes on; // at the beginning says a slash to the model.\n")
        return True

    def _model(self, ref: str) -> bool:
        if ref:
            found = target.resolve(self._app.hub("read"), ref, self._app.env)
            self._app.asking["model"] = ref
            self._say(f"from now on: {found.model} ({found.connection or found.provider.name})")
        else:
            plan = self._conversation.plan(self._app.hub("read"), Ask(), self._chat)
            self._say(f"{plan.target.model} ({plan.target.connection or plan.target.provider.name})")
        return True

    def _system_prompt(self, text: str) -> bool:
        if text:
            self._system = text
            self._say("the next message is sent with this system prompt")
        else:
            self._say(self._system or (self._chat["instructions"] if self._chat else None) or "no system prompt")
        return True

    def _undo(self, _: str) -> bool:
        before = self._required()["id"][:8]
        self._back()
        self._say(f"went back to before your last message; what followed is kept in chat {before}")
        return True

    def _retry(self, _: str) -> bool:
        self._turn(Ask(prompt=self._back()))
        return True

    def _back(self) -> str:
        """Go on in a fork before the last message of the user; return what the message said."""
        self._chat, said = rewind.rewind(self._app.hub("write"), self._required(), self._app.origin())
        return said

    def _stats(self, _: str) -> bool:
        from llmctl.store.stats import query

        numbers = query.chat_stats(self._app.hub("read"), self._required()["id"])
        for name in ("requests", "input_tokens", "output_tokens", "cost", "duration_ms"):
            self._app.io.say(f"  {name.replace('_', ' '):14} {'' if numbers[name] is None else numbers[name]}\n")
        return True

    def _show_chat(self, _: str) -> bool:
        chat = self._required()
        self._say(f"{chat['id']}{' ' + chat['name'] if chat['name'] else ''}")
        return True

    def _required(self) -> Row:
        if self._chat is None:
            raise UsageError("nothing has been said yet")
        return self._chat

    def _survive(self, signalled: Signalled) -> None:
        """Ctrl-C stops what runs, not the conversation; other signals end it."""
        if signalled.signum != signal.SIGINT:
            raise signalled
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, handle)
        self._app.io.say("\n")

    def _say(self, text: str) -> None:
        self._app.note(text)


def with_history(app: App) -> None:
    """Let the arrow keys work in ``input``. Nothing of it is written to disk: the hub has it."""
    try:
        import readline
    except ImportError:
        return
    readline.set_auto_history(True)
