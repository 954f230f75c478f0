"""The composition root: what one command line has to work with. Rooms are opened here, on demand."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from llmctl.cli.io import Streams
from llmctl.cli.output import OutputFormat


class App:
    """One run of llmctl. Commands find it in ``ctx.obj``."""

    def __init__(self, env: Mapping[str, str], io: Streams) -> None:
        self.env = env
        self.io = io
        #: Global flags, before or after the command.
        self.db: str | None = None
        self.quiet = False
        self.debug = False
        #: What ``--json --jsonl --csv --tsv --columns`` ask for.
        self.format = OutputFormat()

    def note(self, text: str) -> None:
        """Tell the user something beside the result: a line on stderr, unless ``--quiet``."""
        if not self.quiet:
            self.io.say(f"llmctl: {text}\n")

    def state_line(self) -> str:
        """Say in one line how the hub is, for ``llmctl`` without arguments."""
        return ""

    def close(self) -> None:
        """Close what was opened."""

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
