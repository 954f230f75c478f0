"""An open conversation on the terminal: its chat, what waits for the next message, and what the commands do to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from llmctl.cli.app import App
from llmctl.cli.console.terminal import colorize, safe_line, safe_text, supports_color, terminal_width
from llmctl.cli.listing_args import sanitize
from llmctl.core.chat import File, Message
from llmctl.core.errors import LlmctlError, StorageError, UsageError
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.core.options import TurnOptions
from llmctl.core.signals import Signalled
from llmctl.engine.chats import fork
from llmctl.engine.connections.target import Target
from llmctl.engine.inspect import transcript
from llmctl.engine.turn import begin
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.engine.turn.state import TurnResult
from llmctl.formats.text import render_conversation
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow

UNFINISHED: dict[begin.Unfinished, str] = {
    "answer": "the last message has no answer",
    "again": "the last answer broke off",
    "calls": "tool calls are unanswered",
}
#: A folder with more files is more likely a mistake.
_MAX_FOLDER_FILES = 100


class TurnRunner(Protocol):
    """What runs the turns: the ``chat`` command."""

    #: Whether the next turn asks what was answered before.
    asks_again: bool

    @property
    def system(self) -> str | None: ...
    @property
    def options(self) -> TurnOptions: ...
    def run_turn(self, user_input: UserInput, chat: ChatRow | None = None) -> TurnResult: ...
    def build_plan(self, database: Database, user_input: UserInput, chat: ChatRow | None = None) -> TurnPlan: ...
    def find_target(self, database: Database, chat: ChatRow | None) -> Target | None: ...
    def find_chat(self, database: Database) -> ChatRow | None: ...
    def reload_chat(self, database: Database, chat: ChatRow | None) -> ChatRow | None: ...
    def change_options(self, **changes: Any) -> None: ...
    def leave_chat(self, name: str | None) -> None: ...


class InteractiveChat:
    """The conversation that is open. Its turns are run by the ``chat`` command."""

    def __init__(self, app: App, command: TurnRunner) -> None:
        self.app = app
        self.command = command
        self.chat: ChatRow | None = None
        #: The system prompt of the next message.
        self.system: str | None = command.system
        #: What the next message takes along: files, and the output of commands.
        self.files: list[File] = []
        self.outputs: list[str] = []
        #: The message that ``/undo`` took back, until another one is sent.
        self.undone: Message | None = None
        #: Messages that are in no hub (``--no-log``).
        self._unsaved_messages: list[Message] = []
        #: Makes a block in which what is typed is not shown.
        self.hold_typing: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def database(self) -> Database:
        return self.app.hub("read")

    def open(self) -> None:
        """Find the chat to continue, and show where it stands."""
        database = self.app.hub("create")
        self.chat = self.command.reload_chat(database, None) or self.command.find_chat(database)
        if self.chat is not None:
            self.show_last_exchange()

    def switch_to(self, chat: ChatRow) -> None:
        """Continue another chat."""
        self.start_new(None)
        self.chat = chat
        self.show_last_exchange()

    def start_new(self, name: str | None) -> None:
        """Leave this chat: the next message begins another."""
        chats.require_free_name(self.app.hub("create"), name)
        self.command.leave_chat(name)
        self.chat, self.undone, self._unsaved_messages = None, None, []

    def send(self, text: str, mentions: Sequence[str] = ()) -> None:
        """Send a message with what waits for it. After an error before the call it still waits."""
        files = [*self.files, *(file for path in mentions for file in read_files(path))]
        prompt = "\n\n".join([*self.outputs, *([text] if text.strip() else [])])
        try:
            self.run_turn(UserInput(prompt=prompt, files=tuple(files)))
        except LlmctlError as error:
            if error.request_id is not None:
                self.forget_additions()
            raise
        except Signalled:
            self.forget_additions()
            raise
        self.forget_additions()

    def forget_additions(self) -> None:
        """Drop what would have gone along with the next message."""
        self.files, self.outputs, self.undone = [], [], None

    def run_turn(self, user_input: UserInput) -> None:
        """Run a turn of this chat and show it."""
        if self.system is not None:
            user_input = user_input.replace(system=self.system)
        try:
            with self.hold_typing():
                with_history = user_input.replace(messages=tuple(self._unsaved_messages))
                result = self.command.run_turn(with_history, self.chat)
            if result.chat_id is None:  # nothing is stored: keep the conversation here
                self._unsaved_messages += [*user_input.to_messages(), *result.new_messages]
        except StorageError:
            self.app.close()  # reopening the hub replays the writes that failed
            raise
        finally:
            self.system = None
            self.chat = self.command.reload_chat(self.database, self.chat)

    def undo(self) -> None:
        """Take the last message back: continue in a fork before it."""
        chat = self.require_chat()
        self.chat, self.undone = fork.rewind_chat(self.app.hub("write"), chat, self.app.caller_info())
        self.command.leave_chat(None)

    def retry(self) -> None:
        """Send the last message again, or the one that was taken back."""
        if self.undone is None:
            self.undo()
        assert self.undone is not None
        self.command.asks_again = True
        try:
            self.resend(self.undone.text)
        finally:
            self.command.asks_again = False

    def resend(self, text: str) -> None:
        """Send another text with the files of the message that was taken back."""
        files = tuple(part for part in self.undone.parts if isinstance(part, File)) if self.undone else ()
        self.undone = None
        self.run_turn(UserInput(prompt=text, files=files))

    def list_answers(self) -> list[str]:
        """Return the texts of the answers, oldest first."""
        thread = chats.find_thread(self.database, self.chat.id) if self.chat else None
        if thread is None:
            return [message.text for message in self._unsaved_messages if message.role == "assistant"]
        rows = chats.list_thread_messages(self.database, thread.id)
        texts = [chats.to_message(row).text for row in rows if row.role == "assistant" and row.chat_id]
        return [text for text in texts if text]

    def require_chat(self) -> ChatRow:
        """Return the chat; raise UsageError if there is none yet."""
        if self.chat is None:
            raise UsageError("this chat has no messages yet")
        return self.chat

    def show_last_exchange(self) -> None:
        """Show the last prompt and what followed, and say what is unfinished."""
        thread = chats.find_thread(self.database, self.require_chat().id)
        if thread is None:
            return
        messages = transcript.conversation(self.database, thread.id, steps=False)
        last = max((index for index, row in enumerate(messages) if row["role"] == "user"), default=0)
        exchange = map(ExportedMessage.from_record, sanitize(self.app.console, messages[last:]))
        is_colored = supports_color(self.app.env, self.app.console.io.stderr_tty)
        for piece in render_conversation(exchange):
            self.app.console.io.write_stderr(_dim_lines(piece) if is_colored else piece)
        kind = begin.find_unfinished(self.database, thread.id)
        if kind is not None:
            self.note(f"{UNFINISHED[kind]}; /continue finishes it")

    def show(self, lines: Iterable[str], indent: int = 2) -> None:
        """Show lines of a command, wrapped between words; names in them cannot command the terminal.

        ``indent`` is that of the rest of a line that does not fit.
        """
        from textwrap import wrap

        rest, width = " " * indent, max(20, self.width - 1)
        wrapped = [
            "\n".join(wrap(safe_line(line), width, initial_indent="  ", subsequent_indent=rest)) for line in lines
        ]
        self.app.console.io.write_stderr("".join(f"{line}\n" for line in wrapped))

    @property
    def width(self) -> int:
        return terminal_width(self.app.env, self.app.console.io.stderr)

    def show_text(self, text: str) -> None:
        """Print text that is the result of a command."""
        io = self.app.console.io
        io.write(safe_text(text) if io.stdout_tty else text)
        io.write("" if text.endswith("\n") else "\n")
        io.flush()

    def note(self, text: str) -> None:
        self.app.console.note(text)


def read_files(path: str) -> list[File]:
    """Return a file, the files of a folder (without hidden ones), or a URL, as attachments."""
    from llmctl.engine.chats.attachments import read_attachment

    if not os.path.isdir(path):
        return [read_attachment(path)]
    found: list[str] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
        if len(found) > _MAX_FOLDER_FILES:
            raise UsageError(f'"{path}" holds more than {_MAX_FOLDER_FILES} files', hint="attach some of them: @FILE")
    names = [name for name in found if os.path.isfile(name) and os.path.getsize(name)]
    if not names:
        raise UsageError(f'"{path}" holds no files to attach')
    return [read_attachment(name).replace(name=os.path.relpath(name, path)) for name in names]


def _dim_lines(text: str) -> str:
    return "\n".join(colorize(line, "dim") for line in text.split("\n"))
