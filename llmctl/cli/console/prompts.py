"""Ask the user on the terminal, even if stdin is redirected. Without a terminal they return None at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmctl.core.errors import DeniedError, UsageError

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
    try:
        with open("/dev/tty", encoding="utf-8", errors="replace") as terminal:
            console.io.write_stderr(question)
            return terminal.readline()
    except OSError:
        return None


def ask_secret(console: Console, question: str) -> str | None:
    """Return a line typed without echo; None without a terminal or for an empty line."""
    if not console.io.stderr_tty:
        return None
    from getpass import getpass  # opens /dev/tty itself

    try:
        with open("/dev/tty"):
            return getpass(question).strip() or None
    except (OSError, EOFError):
        return None
