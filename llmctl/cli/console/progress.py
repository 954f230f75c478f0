"""A progress line on the terminal; none without a terminal, with ``--quiet``, or for work done quickly."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console

#: Seconds before the first update and between updates.
_FIRST_UPDATE_S = 0.5
_UPDATE_INTERVAL_S = 0.1


class Progress:
    """``with Progress(console, "copying") as progress: copy(progress)``; the work calls it with done and total."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._is_shown = console.io.stderr_tty and not console.quiet
        self._next_at_s = time.monotonic() + _FIRST_UPDATE_S
        self._has_output = False

    def __call__(self, done: int, total: int) -> None:
        self.update(f"{done * 100 // max(total, 1)} %")

    def update(self, text: str) -> None:
        """Show the progress as text."""
        now = time.monotonic()
        if not self._is_shown or now < self._next_at_s:
            return
        self._next_at_s = now + _UPDATE_INTERVAL_S
        self._has_output = True
        self._console.io.write_stderr(f"\r\x1b[K{self._label}: {text}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._has_output:
            self._console.io.write_stderr("\r\x1b[K")
