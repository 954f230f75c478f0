"""Values that every part of the engine may take: who called llmctl, its process, what a turn reports, and its tools."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from llmctl.core import environment
from llmctl.core.chat import StreamEvent, ToolSpec
from llmctl.core.environment import find_repository, is_switch_on
from llmctl.core.errors import LlmctlError
from llmctl.core.registry import LazyFunction
from llmctl.core.tools import Permission, Tool
from llmctl.core.values import Value

if TYPE_CHECKING:  # only a program stops a turn from another thread
    from llmctl.core.interrupt import Interrupt

#: Runs a program, such as an editor, on the terminal of this process: ``(argv, env) -> exit status``.
run_on_terminal = LazyFunction("llmctl.tools.process:run_on_terminal")
start_filter = LazyFunction("llmctl.tools.process:TerminalFilter")
#: Runs a program, or a command line in a shell, without a terminal: see :func:`llmctl.tools.process.run_program`.
run_program = LazyFunction("llmctl.tools.process:run_program")

#: Passes the name of the calling script to a background job.
SCRIPT_VARIABLE = "LLMCTL_SCRIPT"

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))


class CallerInfo(Value):
    """Where a turn or a request was started."""

    terminal: bool = False
    folder: str | None = None
    #: Whether requests record the folder; the chat always does.
    ledger_folder: bool = True
    script: str | None = None
    git_commit: str | None = None
    host: str | None = None

    @classmethod
    def from_process(cls, env: Mapping[str, str], *, terminal: bool = False, script: str | None = None) -> CallerInfo:
        """Return the caller of this process. ``script`` is its own program; None: the script that started it."""
        folder = current_folder()
        return cls(
            terminal=terminal,
            folder=folder,
            script=script or env.get(SCRIPT_VARIABLE) or _find_script(os.getppid()),
            git_commit=None if script else _find_git_commit(folder),
            host=os.uname().nodename,
        )

    def restrict_to(self, allowed: Collection[str] | None) -> CallerInfo:
        """Return what the setting ``audit.context`` allows to be recorded; None allows everything.

        The folder that ``--continue`` looks for stays; only the copies in the ledger are dropped.
        """
        if allowed is None:
            return self
        return self.replace(
            ledger_folder="folder" in allowed,
            script=self.script if "script" in allowed else None,
            git_commit=self.git_commit if "git" in allowed else None,
            host=self.host if "host" in allowed else None,
        )


class RuntimeEnv(Value):
    """What the engine takes from the process."""

    env: Mapping[str, str] = {}
    home: str = ""
    #: Folder for rows that the hub's own disk does not take.
    spool_folder: str | None = None
    #: Refuse every host except loopback.
    offline: bool = False
    #: Let URLs that llmctl itself fetches lead to private addresses.
    private_fetch: bool = False
    on_terminal: bool = False
    #: Asks the user a question that is answered with yes or no; None where nobody can be asked.
    confirm: Callable[[str], bool] | None = None
    #: Stops the turn from another thread; None where only signals stop it.
    interrupt: Interrupt | None = None

    @classmethod
    def from_environ(
        cls, env: Mapping[str, str], *, on_terminal: bool = False, confirm: Callable[[str], bool] | None = None
    ) -> RuntimeEnv:
        """Return the runtime of a process with these environment variables."""
        return cls(
            env=env,
            home=env.get("HOME", ""),
            spool_folder=environment.state_folder(env),
            offline=is_switch_on(env, "LLMCTL_OFFLINE") or "PYTEST_CURRENT_TEST" in env,
            private_fetch=is_switch_on(env, "LLMCTL_ALLOW_PRIVATE_FETCH"),
            on_terminal=on_terminal,
            confirm=confirm,
        )

    def sleep(self, seconds: float) -> None:
        """Sleep; raise :class:`Interrupted` once the turn is stopped."""
        (self.interrupt or time).sleep(seconds)

    def raise_if_interrupted(self) -> None:
        """Raise :class:`Interrupted` if the turn was stopped."""
        if self.interrupt is not None:
            self.interrupt.raise_if_set()


# --- who called this process


def current_folder() -> str | None:
    """Return the working directory as text; None if it was removed."""
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
    root = find_repository(folder)
    return _read_head(_resolve_git_folder(root)) if root else None


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


# --- what a turn reports, besides the events of the model's stream


class StepStarted(Value):
    """A step has its rows; ids are None where nothing is logged."""

    chat_id: str | None
    thread_id: str | None
    message_id: str | None
    request_id: str
    step: int


class RetryScheduled(Value):
    """An attempt failed; another one follows."""

    seconds: float
    attempt: int
    error: LlmctlError


class ToolEvent(Value):
    """A tool call of the model, with its result once there is one. ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str
    result: str | None = None
    status: str = "pending"
    #: Why it failed, and what to do about it.
    error: str | None = None
    hint: str | None = None


class ApprovalNeeded(Value):
    """A tool call waits for a person's decision. ``arguments`` is JSON text."""

    invocation_id: str
    name: str
    arguments: str
    #: What the tool does and which keys it takes, if it came with a file and is not trusted yet.
    use: str | None = None


class Notice(Value):
    """Something the user should know that is not part of the answer."""

    text: str


TurnEvent = StreamEvent | StepStarted | RetryScheduled | ToolEvent | ApprovalNeeded | Notice


# --- agents and tools


class AgentContext(Value):
    """The agent of a turn, and its session."""

    id: str
    name: str
    version: str
    session_id: str
    #: The full definition, stored with the session to show what changed.
    definition: Mapping[str, Any] = {}
    #: Metadata of the session, available in the instructions template.
    metadata: Mapping[str, Any] = {}
    #: The session exists in the hub.
    is_resumed: bool = False
    #: Number of calling agents.
    depth: int = 0


#: The schema of a tool without one.
_NO_ARGUMENTS = {"type": "object", "properties": {}}

#: The user's answer to an approval request: ``always`` and ``never`` hold for its scope, ``everywhere`` allows such
#: calls in all chats, ``stop`` ends the run.
ApprovalReply = Literal["once", "always", "everywhere", "no", "never", "stop"]


class EditedArguments(Value):
    """The user's answer that asks again with other arguments (JSON text)."""

    arguments: str


class ApprovalRequest(Value):
    """A call that the user has to approve. ``arguments`` is the whole JSON text, ``agent`` a name."""

    name: str
    arguments: str
    description: str = ""
    agent: str | None = None
    #: The command line or request that it runs; None if only the tool knows.
    command: str | None = None
    #: What ``always`` and ``never`` apply to, such as ``for this chat``.
    scope: str = "for this chat"
    #: What the tool does and which keys it takes, if it came with a file and is not trusted yet.
    use: str | None = None

    #: Why the arguments that the user wrote cannot be used.
    problem: str = ""


#: Asks the user; after edited arguments it is called again, with what they mean.
AskUser = Callable[[ApprovalRequest], ApprovalReply | EditedArguments]


class ToolGrant(Value):
    """A tool of a chat or an agent, and its permission."""

    tool: Tool
    permission: Permission = "user-permitted"
    #: The permission is the hub's, not one given for this turn: in a hub of someone else it only narrows.
    is_stored: bool = False
    #: The user named just this tool for this turn, no pattern, server, chat or agent did.
    is_named: bool = False


class Toolset(Value):
    """The tools of a turn. Hooks are called in the main thread, before and after each run."""

    grants: tuple[ToolGrant, ...] = ()
    #: Names that the user approved for this turn (``--approve``); denied tools stay denied.
    approved: frozenset[str] = frozenset()
    #: Asks the user on the terminal; None if there is none.
    ask: AskUser | None = None
    #: The agent that remembered decisions apply to; None: they apply to the chat.
    agent_id: str | None = None
    agent_name: str | None = None
    on_start: Callable[[ToolEvent], None] | None = None
    on_end: Callable[[ToolEvent], None] | None = None

    def __bool__(self) -> bool:
        return bool(self.grants)

    def find(self, name: str) -> ToolGrant | None:
        return next((grant for grant in self.grants if grant.tool.name == name), None)

    def names(self) -> list[str]:
        """Return the names of the tools that a model may call."""
        return [grant.tool.name for grant in self.grants if grant.permission != "denied"]

    def specs(self) -> tuple[ToolSpec, ...]:
        """Return the tools to send to a model, without denied ones."""
        return tuple(
            ToolSpec(grant.tool.name, grant.tool.description, grant.tool.schema or _NO_ARGUMENTS)
            for grant in self.grants
            if grant.permission != "denied"
        )

    def stored_permissions(self) -> dict[str, Permission]:
        """Return the permissions that are stored with a chat: those of tools in the hub."""
        return {grant.tool.name: grant.permission for grant in self.grants if grant.tool.id}

    def with_grants(self, grants: Iterable[ToolGrant]) -> Toolset:
        """Return a toolset with further grants; of two with the same name the later one wins."""
        by_name = {grant.tool.name: grant for grant in (*self.grants, *grants)}
        return self.replace(grants=tuple(by_name.values()))
