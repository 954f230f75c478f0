"""Where a turn was asked for: terminal or not, folder, calling script, git commit, host."""

from __future__ import annotations

import os
from collections.abc import Mapping

from llmctl.cli.console.io import Streams
from llmctl.engine.turn.options import Origin

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))


#: Names the script that asked where another process does the asking: a job of its own.
SCRIPT_VARIABLE = "LLMCTL_SCRIPT"


def of_process(io: Streams, env: Mapping[str, str]) -> Origin:
    """Return the origin of this process. A turn is from a terminal when its stderr is one and stdin or stdout too."""
    folder = _folder()
    return Origin(
        terminal=io.stderr_tty and (io.stdin_tty or io.stdout_tty),
        folder=folder,
        script=env.get(SCRIPT_VARIABLE) or _script(os.getppid()),
        git_commit=_git_commit(folder),
        host=os.uname().nodename,
    )


def _folder() -> str | None:
    try:
        return os.getcwd().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
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
        if os.path.exists(f"{folder}/.git"):
            return _head(_git_folder(folder))
        parent = os.path.dirname(folder)
        folder = parent if parent != folder else None
    return None


def _git_folder(folder: str) -> str:
    """Return where a repository is kept: worktrees and submodules have a file that names the place."""
    place = f"{folder}/.git"
    named = (_line(place) or "").removeprefix("gitdir: ") if os.path.isfile(place) else ""
    return os.path.join(folder, named) if named else place


def _head(git: str) -> str | None:
    head = _line(f"{git}/HEAD")
    if not head or not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    common = os.path.join(git, _line(f"{git}/commondir") or "")
    return _line(f"{git}/{name}") or _line(os.path.join(common, name)) or _packed(common, name)


def _packed(git: str, name: str) -> str | None:
    """Return what packed-refs knows of a branch (https://git-scm.com/docs/git-pack-refs)."""
    try:
        with open(os.path.join(git, "packed-refs"), encoding="utf-8", errors="replace") as file:
            return next((line.split()[0] for line in file if line.rstrip("\n").endswith(f" {name}")), None)
    except OSError:
        return None


def _line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None
