"""Find out who called llmctl: terminal or not, folder, script, git commit, host."""

from __future__ import annotations

import os
from collections.abc import Mapping

from llmctl.cli.console.io import Streams
from llmctl.engine.runtime import CallerInfo

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))


#: Passes the name of the calling script to a background job.
SCRIPT_VARIABLE = "LLMCTL_SCRIPT"


def from_process(io: Streams, env: Mapping[str, str]) -> CallerInfo:
    """Return the caller of this process. It is a terminal if stderr is one, and stdin or stdout too."""
    folder = _current_folder()
    return CallerInfo(
        terminal=io.stderr_tty and (io.stdin_tty or io.stdout_tty),
        folder=folder,
        script=env.get(SCRIPT_VARIABLE) or _find_script(os.getppid()),
        git_commit=_find_git_commit(folder),
        host=os.uname().nodename,
    )


def _current_folder() -> str | None:
    try:
        return os.getcwd().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except OSError:  # it was removed
        return None


def _find_script(pid: int) -> str | None:
    """Return the script the parent shell runs, or the name of a parent that is not a shell. Linux only."""
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


def _find_git_commit(folder: str | None) -> str | None:
    """Return the HEAD commit of the repository that contains a folder, read from its files."""
    while folder:
        if os.path.exists(f"{folder}/.git"):
            return _read_head(_resolve_git_folder(folder))
        parent = os.path.dirname(folder)
        folder = parent if parent != folder else None
    return None


def _resolve_git_folder(folder: str) -> str:
    """Return the git directory of a work tree; in worktrees and submodules ``.git`` is a file with its path."""
    path = f"{folder}/.git"
    git_folder = (_read_first_line(path) or "").removeprefix("gitdir: ") if os.path.isfile(path) else ""
    return os.path.join(folder, git_folder) if git_folder else path


def _read_head(git: str) -> str | None:
    head = _read_first_line(f"{git}/HEAD")
    if not head or not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    common = os.path.join(git, _read_first_line(f"{git}/commondir") or "")
    return (
        _read_first_line(f"{git}/{name}")
        or _read_first_line(os.path.join(common, name))
        or _find_packed_ref(common, name)
    )


def _find_packed_ref(git: str, name: str) -> str | None:
    """Return the commit of a branch from packed-refs (https://git-scm.com/docs/git-pack-refs)."""
    try:
        with open(os.path.join(git, "packed-refs"), encoding="utf-8", errors="replace") as file:
            return next((line.split()[0] for line in file if line.rstrip("\n").endswith(f" {name}")), None)
    except OSError:
        return None


def _read_first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None
