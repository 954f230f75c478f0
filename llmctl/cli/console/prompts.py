"""Asking the person at the terminal, whatever stdin is; where there is none, nothing is asked and nothing hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmctl.core.errors import DeniedError, UsageError

if TYPE_CHECKING:
    from llmctl.cli.app import App


def confirm(app: App, question: str, *, yes: bool) -> None:
    """Return if the person agrees, or has with ``--yes``; else :class:`DeniedError`.

    Off a terminal nobody can be asked: :class:`UsageError` without ``--yes``. ``question`` is what would be done,
    such as ``delete chat "fix-42" and every copy of its text``.
    """
    if yes:
        return
    answer = ask(app, f"{question[:1].upper()}{question[1:]}? [y/N] ")
    if answer is None:
        raise UsageError(f"not without a word from you: {question}", hint="say --yes, there is no terminal to ask on")
    if answer.strip().lower() not in ("y", "yes"):
        raise DeniedError("nothing was changed")


def ask(app: App, question: str) -> str | None:
    """Return a line from the person, without its newline; None without a terminal."""
    if not app.io.stderr_tty:
        return None
    try:
        with open("/dev/tty", encoding="utf-8", errors="replace") as terminal:
            app.io.say(question)
            return terminal.readline().removesuffix("\n")
    except OSError:
        return None


def ask_secret(app: App, question: str) -> str | None:
    """Return a line that the person types unseen; None without a terminal or where nothing is typed."""
    if not app.io.stderr_tty:
        return None
    from getpass import getpass  # asks on /dev/tty itself

    try:
        with open("/dev/tty"):
            return getpass(question).strip() or None
    except (OSError, EOFError):
        return None
