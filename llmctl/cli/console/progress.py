"""A line on the terminal that says how far something is: none off a terminal, with ``--quiet``, or when it is quick."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmctl.cli.app import App

#: Seconds before anything is said, and between two lines.
_AFTER_S = 0.5
_EVERY_S = 0.1


class Progress:
    """``with Progress(app, "copying") as progress: work(progress)``: called with done and total, or with a word."""

    def __init__(self, app: App, what: str) -> None:
        self._app = app
        self._what = what
        self._is_shown = app.io.stderr_tty and not app.quiet
        self._next = time.monotonic() + _AFTER_S
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        self.word(f"{done * 100 // max(total, 1)} %")

    def word(self, text: str) -> None:
        """Say how far it is, in a word."""
        now = time.monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next = now + _EVERY_S
        self._said = True
        self._app.io.say(f"\r\x1b[K{self._what}: {text}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._said:
            self._app.io.say("\r\x1b[K")
