"""What the command line says to the model: words, standard input, files, messages, a prompt file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmctl.cli import stdin
from llmctl.cli.app import App
from llmctl.cli.turn import attach
from llmctl.cli.turn.messages_arg import parsed_messages
from llmctl.core.errors import NotFoundError
from llmctl.core.messages import Message
from llmctl.engine.chats.attach_files import file_of, read_file
from llmctl.engine.turn.options import Ask

if TYPE_CHECKING:
    from llmctl.cli.turn.prompt_files import PromptFile


class Wishes(NamedTuple):
    """The flags of ``chat`` alone."""

    words: tuple[str, ...] = ()
    continue_: bool = False
    chat: str | None = None
    name: str | None = None
    system: str | None = None
    system_file: str | None = None
    interactive: bool = False
    no_log: bool = False
    messages: str | None = None
    #: A prompt file by its path or its name, and values for it.
    file: str | None = None
    template: str | None = None
    params: tuple[str, ...] = ()
    #: An agent by its REF or its file, and the session to go on with.
    agent: str | None = None
    session: str | None = None
    force: bool = False


def ask(app: App, wishes: Wishes, file: PromptFile | None, system: str | None) -> Ask:
    """Read what is said. ``system`` goes before the system prompt of the file."""
    names, from_stdin = attach.files(app)
    attached = tuple(read_file(name) for name in names)
    if from_stdin:
        attached = (*attached, file_of(stdin.read_bytes(app.io, app.note)))
    takes_stdin = False if from_stdin or wishes.messages == "-" else app.asking["stdin"]
    if file:
        own, prompt = file.rendered(wishes.words, takes_stdin)
        system = own if system is None else system
    else:
        prompt = stdin.read_prompt(wishes.words, io=app.io, env=app.env, note=app.note, stdin=takes_stdin)
    return Ask(prompt=prompt, files=attached, system=system, messages=_messages(app, wishes.messages))


def system_of(wishes: Wishes) -> str | None:
    """Return the system prompt of the flags; raises NotFoundError for a file that cannot be read."""
    return _text_of(wishes.system_file).rstrip("\n") if wishes.system_file else wishes.system


def _messages(app: App, source: str | None) -> tuple[Message, ...]:
    if not source:
        return ()
    return parsed_messages(stdin.read_text(app.io, app.note) if source == "-" else _text_of(source), source)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f'cannot read "{path}": {_why(error)}') from error


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
