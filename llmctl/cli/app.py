"""The composition root: what one command line has to work with. Rooms are opened here, on demand."""

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
    from llmctl.engine.billing.limits import Purse
    from llmctl.engine.turn.options import Origin, Surroundings
    from llmctl.store.database import Database, Mode


class App:
    """One run of llmctl. Commands find it in ``ctx.obj``."""

    def __init__(self, env: Mapping[str, str], io: Streams, arguments: Sequence[str] = ()) -> None:
        self.env = env
        self.io = io
        #: The command line as it was given.
        self.arguments = tuple(arguments)
        #: Global flags, before or after the command.
        self.db: str | None = None
        self.quiet = False
        self.debug = False
        #: What ``--json --jsonl --csv --tsv --columns`` ask for.
        self.format = OutputFormat()
        #: The flags that ``chat``, ``run`` and ``agent run`` share, by name.
        self.asking: dict[str, Any] = {}
        #: What ``--max-cost`` lets this run spend, once somebody asked.
        self.purse: Purse | None = None
        self._told: set[str] = set()
        self._hub: Database | None = None
        self._mode: Mode = "read"

    @property
    def hub_path(self) -> str:
        """Where the hub is or would be; raises ConfigError without a home."""
        path = paths.hub_path(self.db, self.env)
        if path is None:
            raise ConfigError("no home folder to keep the hub in", hint="set LLMCTL_DB", reason="no_home")
        if path == paths.hub_path(None, {"HOME": self.home}) and not os.path.isdir(self.home):
            raise ConfigError(f'the home folder "{self.home}" is not there', hint="set LLMCTL_DB", reason="no_home")
        return path

    def hub(self, mode: Mode = "read") -> Database:
        """Return the hub, opened once; ``create`` makes it, with connections for the keys in the environment."""
        if self._hub is not None and (mode == "read" or self._mode != "read"):
            return self._hub
        from llmctl.store import opening

        self.close()
        prepare = self._connect_environment if mode == "create" else None
        self._hub, self._mode = opening.open_hub(self.hub_path, mode, prepare=prepare), mode
        if mode != "read":
            self._take_in(self._hub)
        return self._hub

    @property
    def home(self) -> str:
        return self.env.get("HOME", "")

    def surroundings(self) -> Surroundings:
        """Return what this process lends to the engine."""
        from llmctl.engine.turn.options import Surroundings

        return Surroundings.of(self.env, on_terminal=self.io.stderr_tty)

    def origin(self) -> Origin:
        """Return where this run was asked for."""
        from llmctl.cli.turn import caller_info

        return caller_info.of_process(self.io, self.env)

    def converse(self, **wishes: Any) -> None:
        """Run ``chat`` with its own flags (the fields of ``Wishes``): the engine is not for its help."""
        from llmctl.cli.turn.chat import Conversation
        from llmctl.cli.turn.input import Wishes

        Conversation(self, Wishes(**wishes)).run()

    def note(self, text: str) -> None:
        """Tell the user something beside the result: a line on stderr, unless ``--quiet``."""
        if not self.quiet:
            self.say_line(f"llmctl: {text}")

    def note_once(self, text: str) -> None:
        """Tell it, unless it was told before in this run."""
        if text not in self._told:
            self._told.add(text)
            self.note(text)

    def say_line(self, text: str) -> None:
        """Write a line to stderr; what others chose of it cannot steer the terminal."""
        from llmctl.cli.console.terminal import safe_text

        self.io.say((safe_text(text) if self.io.stderr_tty else text) + "\n")

    def state_line(self) -> str:
        """Say in one line how the hub is, for ``llmctl`` without arguments."""
        try:
            path = self.hub_path
            if not os.path.exists(path):
                return f"no hub yet at {path}: it is made by `llmctl init` or the first chat"
            chats = self.hub().value("SELECT count(*) FROM {chats}")
        except LlmctlError as error:
            return f"hub: {error.message}"
        return f"hub: {path}, {chats} chat{'' if chats == 1 else 's'}"

    def close(self) -> None:
        """Close what was opened."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def _take_in(self, hub: Database) -> None:
        from llmctl.store import write_spool

        folder = paths.state_folder(self.env)
        waiting = any(os.path.exists(place) for place in write_spool.places(hub.path, folder))
        if waiting and (taken := write_spool.take_in(hub, folder)):
            self.note(f"took in {taken} writes that an earlier run could not make")

    def _connect_environment(self, hub: Database) -> None:
        """Give a hub that is being made the connections for the keys in the environment."""
        from llmctl.engine.connections import first_run

        for name in first_run.connect_environment(hub, self.env):
            self.note(f'made the hub "{self.hub_path}" with the connection "{name}", for the key in the environment')

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
