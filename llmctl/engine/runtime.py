"""Who called llmctl, and the process it runs in: values that every part of the engine may take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from llmctl.core import paths
from llmctl.core.settings import is_switch_on


class CallerInfo(NamedTuple):
    """Where a turn or a request was started."""

    terminal: bool = False
    folder: str | None = None
    #: Whether requests record the folder; the chat always does.
    ledger_folder: bool = True
    script: str | None = None
    git_commit: str | None = None
    host: str | None = None

    def restrict_to(self, allowed: Collection[str] | None) -> CallerInfo:
        """Return what the setting ``audit.context`` allows to be recorded; None allows everything.

        The folder that ``--continue`` looks for stays; only the copies in the ledger are dropped.
        """
        if allowed is None:
            return self
        return self._replace(
            ledger_folder="folder" in allowed,
            script=self.script if "script" in allowed else None,
            git_commit=self.git_commit if "git" in allowed else None,
            host=self.host if "host" in allowed else None,
        )


class RuntimeEnv(NamedTuple):
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

    @classmethod
    def from_environ(cls, env: Mapping[str, str], *, on_terminal: bool = False) -> RuntimeEnv:
        """Return the runtime of a process with these environment variables."""
        return cls(
            env=env,
            home=env.get("HOME", ""),
            spool_folder=paths.state_folder(env),
            offline=is_switch_on(env, "LLMCTL_OFFLINE") or "PYTEST_CURRENT_TEST" in env,
            private_fetch=is_switch_on(env, "LLMCTL_ALLOW_PRIVATE_FETCH"),
            on_terminal=on_terminal,
        )
