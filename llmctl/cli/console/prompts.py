"""Ask the user on the terminal, even if stdin is redirected. Without a terminal they return None at once."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TextIO

from llmctl.core.errors import DeniedError, LlmctlError, UsageError

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console


def confirm(console: Console, question: str, *, yes: bool, is_required: bool = True) -> None:
    """Return if the user confirms or passed ``--yes``; else raise :class:`DeniedError`.

    Without a terminal and ``--yes`` raises :class:`UsageError`, unless a confirmation is not required there: for what
    scripts delete, and can make again. ``question`` names the action, such as ``delete chat "fix-42" and every copy
    of its text``.
    """
    if yes:
        return
    answer = ask(console, f"{question[:1].upper()}{question[1:]}? [y/N] ")
    if answer is None and not is_required:
        return
    if answer is None:
        raise UsageError(f"refusing to {question} without confirmation", hint="pass --yes to run without a terminal")
    if answer.strip().lower() not in ("y", "yes"):
        raise DeniedError("cancelled")


def ask(console: Console, question: str) -> str | None:
    """Return a line typed by the user, without the newline; None without a terminal."""
    line = ask_line(console, question)
    return None if line is None else line.removesuffix("\n")


def ask_line(console: Console, question: str) -> str | None:
    """Return a line typed by the user, with its newline; empty at the end of input, None without a terminal."""
    if not console.io.stderr_tty:
        return None
    console.io.close_pager()
    try:
        with open("/dev/tty", encoding="utf-8", errors="replace") as terminal, take_lines(terminal):
            console.io.write_stderr(question)
            return terminal.readline()
    except OSError:
        return None


def take_lines(terminal: TextIO) -> AbstractContextManager[None]:
    """Return a block in which the terminal takes lines and shows them; what was typed before answers no question."""
    from llmctl.cli.console.terminal import change_terminal

    return change_terminal(terminal.fileno(), on=("ICRNL", "ECHO", "ICANON"), drop=True)


def ask_secret(console: Console, question: str) -> str | None:
    """Return a line typed without echo; None without a terminal or for an empty line."""
    if not console.io.stderr_tty:
        return None
    from getpass import getpass  # opens /dev/tty itself

    try:
        with open("/dev/tty") as terminal, take_lines(terminal):
            return getpass(question).strip() or None
    except (OSError, EOFError):
        return None


def edit_text(console: Console, text: str, suffix: str) -> str:
    """Return a text as the user leaves it in their editor (``$VISUAL``, ``$EDITOR``, else vi); see git-var(1).

    ``suffix`` is that of the file, which tells the editor the syntax. Raises LlmctlError if the editor fails.
    """
    from tempfile import TemporaryDirectory

    from llmctl.core.text_files import read_text_file
    from llmctl.engine.runtime import run_on_terminal

    editor = next((value for name in ("VISUAL", "EDITOR") if (value := console.env.get(name, "").strip())), "vi")
    console.io.flush()
    with TemporaryDirectory(prefix="llmctl-") as folder:  # of this user alone
        path = os.path.join(folder, f"edit{suffix}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        # In a shell, as git runs it: the variable may hold arguments.
        status = run_on_terminal(["/bin/sh", "-c", f'{editor} "$@"', editor, path], console.env)
        if status:
            raise LlmctlError(f'the editor "{editor}" ended with status {status}', hint="set EDITOR to another one")
        return read_text_file(path)
