"""Where a turn was asked for: terminal or not, folder, calling script, git commit, host."""

from __future__ import annotations

import os

from llmctl.cli.io import Streams
from llmctl.engine.asking import Origin

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))


def of_process(io: Streams) -> Origin:
    """Return the origin of this process. A turn is from a terminal when its stderr is one and stdin or stdout too."""
    folder = _folder()
    return Origin(
        terminal=io.stderr_tty and (io.stdin_tty or io.stdout_tty),
        folder=folder,
        script=_script(os.getppid()),
        git_commit=_git_commit(folder),
        host=os.uname().nodename,
    )


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _script(pid: int) -> str | None:
    """Return the script that a parent shell runs, or the name of a parent that is no shell. Linux only."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().rstrip("\0").split("\0")
    except OSError:
        return None
    name = os.path.basename(words[0]).lstrip("-")
    if name not in _SHELLS:
        return name or None
    scripts = [word for word in words[1:2] if word and not word.startswith("-")]
    return scripts[0] if scripts else None


def _git_commit(folder: str | None) -> str | None:
    """Return the commit that HEAD names in the repository around a folder, read from its files."""
    while folder:
        head = _line(f"{folder}/.git/HEAD")
        if head:
            name = head.removeprefix("ref: ")
            return head if name == head else _line(f"{folder}/.git/{name}")
        parent = os.path.dirname(folder)
        folder = parent if parent != folder else None
    return None


def _line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None
