"""The application object: the hub, streams and flags of one command run, opened on demand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llmctl.cli.console.io import Streams
from llmctl.cli.console.output import OutputFormat
from llmctl.core import paths
from llmctl.core.errors import ConfigError, LlmctlError

if TYPE_CHECKING:
    from llmctl.engine.billing.budget import CommandBudget
    from llmctl.engine.runtime import CallerInfo, RuntimeEnv
    from llmctl.store.database import Database, Mode


class App:
    """One run of llmctl; commands get it as ``ctx.obj``."""

    def __init__(self, env: Mapping[str, str], io: Streams, arguments: Sequence[str] = ()) -> None:
        self.env = env
        self.io = io
        #: The command line as given, without the program name.
        self.arguments = tuple(arguments)
        #: Global flags; they may stand before or after the command.
        self.db: str | None = None
        self.quiet = False
        self.debug = False
        #: Set by ``--json --jsonl --csv --tsv --columns``.
        self.format = OutputFormat()
        #: The flags shared by ``chat``, ``run`` and ``agent run``, by name.
        self.turn_flags: dict[str, Any] = {}
        #: What ``--max-cost`` lets this run spend; set on first use.
        self.budget: CommandBudget | None = None
        self._shown_notes: set[str] = set()
        self._hub: Database | None = None
        self._mode: Mode = "read"

    @property
    def hub_path(self) -> str:
        """The path of the hub, which may not exist yet; raises ConfigError without a home folder."""
        path = paths.hub_path(self.db, self.env)
        if path is None:
            raise ConfigError("no home folder for the hub", hint="set LLMCTL_DB", reason="no_home")
        if path == paths.hub_path(None, {"HOME": self.home}) and not os.path.isdir(self.home):
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
        return self._hub

    @property
    def home(self) -> str:
        return self.env.get("HOME", "")

    def runtime_env(self) -> RuntimeEnv:
        """Return the environment the engine runs in."""
        from llmctl.engine.runtime import RuntimeEnv

        return RuntimeEnv.from_environ(self.env, on_terminal=self.io.stderr_tty)

    def caller_info(self) -> CallerInfo:
        """Return who started this run: terminal, folder, script, commit, host."""
        from llmctl.cli.turn import caller_info

        return caller_info.from_process(self.io, self.env)

    def run_chat(self, **args: Any) -> None:
        """Run ``chat``; takes the fields of ``ChatArgs``. Imports the engine here so that ``--help`` does not."""
        from llmctl.cli.turn.chat import ChatCommand
        from llmctl.cli.turn.input import ChatArgs

        ChatCommand(self, ChatArgs(**args)).run()

    def note(self, text: str) -> None:
        """Print a note to stderr, unless ``--quiet``."""
        if not self.quiet:
            self.write_stderr_line(f"llmctl: {text}")

    def note_once(self, text: str) -> None:
        """Print a note once per run."""
        if text not in self._shown_notes:
            self._shown_notes.add(text)
            self.note(text)

    def write_stderr_line(self, text: str) -> None:
        """Write a line to stderr, with terminal escapes neutralized."""
        from llmctl.cli.console.terminal import safe_text

        self.io.write_stderr((safe_text(text) if self.io.stderr_tty else text) + "\n")

    def describe_hub(self) -> str:
        """Describe the hub in one line, for ``llmctl`` without arguments."""
        try:
            path = self.hub_path
            if not os.path.exists(path):
                return f"no hub yet at {path}: `llmctl init` or the first chat creates it"
            chats = self.hub().value("SELECT count(*) FROM {chats}")
        except LlmctlError as error:
            return f"hub: {error.message}"
        return f"hub: {path}, {chats} chat{'' if chats == 1 else 's'}"

    def close(self) -> None:
        """Close the hub, if it is open."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def _replay_spool(self, hub: Database) -> None:
        from llmctl.store import write_spool

        folder = paths.state_folder(self.env)
        has_spool = any(os.path.exists(place) for place in write_spool.spool_paths(hub.path, folder))
        if has_spool and (replayed := write_spool.replay(hub, folder)):
            self.note(f"recovered {replayed} write{'' if replayed == 1 else 's'} left by an earlier run")

    def _connect_environment(self, hub: Database) -> None:
        """Add connections to a new hub for the API keys in the environment."""
        from llmctl.engine.connections import discovery

        for name in discovery.connect_environment(hub, self.env):
            self.note(f'created hub "{self.hub_path}" with connection "{name}" for the API key in the environment')

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
