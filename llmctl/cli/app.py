"""One run of llmctl: its console and environment, and the hub, opened on demand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from llmctl.cli.console.console import Console, Streams
from llmctl.core import environment
from llmctl.core.errors import ConfigError, LlmctlError

if TYPE_CHECKING:
    from llmctl.engine.runtime import CallerInfo, RuntimeEnv
    from llmctl.store.database import Database, Mode
    from llmctl.store.records.chats import Place


class App:
    """One run of llmctl; commands get it as ``ctx.obj``."""

    def __init__(self, env: Mapping[str, str], io: Streams, arguments: Sequence[str] = ()) -> None:
        self.env = env
        self.console = Console(env, io)
        #: The command line as given, without the program name.
        self.arguments = tuple(arguments)
        #: Global flags; they may stand before or after the command.
        self.db: str | None = None
        self.debug = False
        self._hub: Database | None = None
        self._mode: Mode = "read"
        self._asking = Lock()

    @property
    def hub_path(self) -> str:
        """The path of the hub, which may not exist yet; raises ConfigError without a home folder."""
        path = environment.hub_path(self.db, self.env)
        if path is None:
            raise ConfigError("no home folder for the hub", hint="set LLMCTL_DB", reason="no_home")
        if path == environment.hub_path(None, {"HOME": self.home}) and not os.path.isdir(self.home):
            raise ConfigError(f'home folder "{self.home}" does not exist', hint="set LLMCTL_DB", reason="no_home")
        return path

    def hub(self, mode: Mode = "read") -> Database:
        """Open the hub once; ``create`` creates it, with connections for the API keys in the environment."""
        if self._hub is not None and (mode == "read" or self._mode != "read"):
            return self._hub
        from llmctl.store import opening

        self.close()
        prepare = self._connect_environment if mode == "create" else None
        self._hub, self._mode = opening.open_hub(self.hub_path, mode, prepare=prepare), mode
        if mode != "read":
            self._replay_spool(self._hub)
            self.identify_hub(self._hub)
        return self._hub

    def identify_hub(self, hub: Database) -> None:
        """Record a hub that this run has made, or that has no id yet; see :mod:`llmctl.engine.connections.trust`."""
        if hub.is_new or hub.id is None:
            from llmctl.engine.connections import trust

            trust.identify_hub(hub, self.env)

    @property
    def home(self) -> str:
        return self.env.get("HOME", "")

    def runtime_env(self) -> RuntimeEnv:
        """Return the environment the engine runs in."""
        from llmctl.engine.runtime import RuntimeEnv

        on_terminal = self.console.io.stderr_tty
        confirm = self._confirm if on_terminal else None
        return RuntimeEnv.from_environ(self.env, on_terminal=on_terminal, confirm=confirm)

    def caller_info(self) -> CallerInfo:
        """Return who started this run: terminal, folder, script, commit, host."""
        from llmctl.engine.runtime import CallerInfo

        return CallerInfo.from_process(self.env, terminal=self._is_interactive)

    @property
    def place(self) -> Place:
        """Where this run is: what ``last`` depends on."""
        from llmctl.engine.runtime import current_folder
        from llmctl.store.records.chats import Place

        return Place(self._is_interactive, current_folder())

    @property
    def _is_interactive(self) -> bool:
        io = self.console.io
        return io.stderr_tty and (io.stdin_tty or io.stdout_tty)

    def describe_hub(self) -> str:
        """Describe the hub in one line, for ``llmctl`` without arguments."""
        try:
            path = self.hub_path
            if not os.path.exists(path):
                return f"no hub yet at {path}: `llmctl init` or the first chat creates it"
            from llmctl.store.records import chats

            count = chats.count(self.hub())
        except LlmctlError as error:
            return f"hub: {error.message}"
        return f"hub: {path}, {count} chat{'' if count == 1 else 's'}"

    def close(self) -> None:
        """Close the hub, if it is open."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def _confirm(self, question: str) -> bool:
        """Ask the user a question on the terminal; no answer is no."""
        from llmctl.cli.console.prompts import ask
        from llmctl.cli.console.terminal import safe_line

        with self._asking:  # sub-agents run in parallel threads
            self.console.io.flush()
            answer = ask(self.console, f"{safe_line(question)} [y/N] ")
        return (answer or "").strip().lower() in ("y", "yes")

    def _replay_spool(self, hub: Database) -> None:
        from llmctl.store import opening

        folder = environment.state_folder(self.env)
        if not opening.has_spool(hub.path, folder):
            return
        from llmctl.store import write_spool  # only after a run that could not write

        if replayed := write_spool.replay(hub, folder):
            self.console.note(f"recovered {replayed} write{'' if replayed == 1 else 's'} left by an earlier run")

    def _connect_environment(self, hub: Database) -> None:
        """Add connections to a new hub for the API keys in the environment."""
        from llmctl.engine.connections import discovery

        for name in discovery.connect_environment(hub, self.env):
            self.console.note(
                f'created hub "{self.hub_path}" with connection "{name}" for the API key in the environment'
            )

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
