"""Lines at the bottom of the terminal that change: the block of an answer that still arrives, or what is waited for.

They are drawn by the main thread, between reads and by a timer while a read blocks, and erased before anything else is
printed. Without a terminal there are none.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from llmctl.cli.console.terminal import colorize, display_width, safe_line, supports_color, truncate

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console

#: Seconds between two drawings, and before it is said what is waited for.
_INTERVAL_S = 0.1
_STATUS_AFTER_S = 0.5
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FALLBACK_SIZE = os.terminal_size((80, 24))


def is_drawable(console: Console) -> bool:
    """Return whether lines can be erased again on the terminal of stderr, or of stdout."""
    io = console.io
    return (io.stderr_tty or io.stdout_tty) and console.env.get("TERM", "dumb") != "dumb"


#: Variables of terminals that break lines anew when they become narrower; others cut them off.
_REFLOW_VARIABLES = ("TMUX", "VTE_VERSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID", "WT_SESSION", "TERM_PROGRAM")
_REFLOW_TERMS = ("tmux", "alacritty", "foot", "xterm-kitty", "wezterm")


class LiveRegion:
    """Lines that are drawn again and again below what was printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._io = console.io
        env = console.env
        self._reflows = env.get("TERM", "").startswith(_REFLOW_TERMS) or any(map(env.get, _REFLOW_VARIABLES))
        self._fd = (self._io.stdout if self._io.stdout_tty else self._io.stderr).fileno()
        self._lines: list[str] = []
        self._width = 0

    @property
    def size(self) -> os.terminal_size:
        """The size of the terminal now: it may change at any time."""
        with suppress(OSError):
            size = os.get_terminal_size(self._fd)
            if size.columns and size.lines:
                return size
        return _FALLBACK_SIZE

    def show(self, lines: Sequence[str], color: str = "dim") -> None:
        """Draw lines, each narrower than the terminal, in place of those drawn before."""
        same = 0
        if self._width == self.size.columns:
            while same < min(len(lines), len(self._lines)) and lines[same] == self._lines[same]:
                same += 1
        if same == len(lines) == len(self._lines):
            return
        is_colored = supports_color(self._console.env, True)
        shown = [colorize(line, color) if is_colored else line for line in lines[same:]]
        is_below = bool(same) and same == len(self._lines)
        start = "\n" if is_below else self._erase(same)
        self._write(start + "\n".join(shown))
        self._lines, self._width = list(lines), self.size.columns

    def hide(self) -> None:
        """Erase what is drawn."""
        if self._lines:
            self._write(self._erase(0))
            self._lines = []

    def _erase(self, first: int) -> str:
        """Return what moves the cursor to a line that is drawn, and erases from there on."""
        if not self._lines:
            return ""
        rows = [1] * len(self._lines[first:])
        if self._reflows and (width := self.size.columns) < self._width:
            rows = [max(1, -(-display_width(line) // width)) for line in self._lines[first:]]
        up = sum(rows) - 1
        return (f"\x1b[{up}A" if up else "") + "\r\x1b[J"

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        with suppress(OSError):  # the terminal is gone; what is printed next fails and is reported
            while data:
                data = data[os.write(self._fd, data) :]


class LiveDisplay:
    """What is shown while a turn waits: the open block of the answer, or else a line that says what is waited for."""

    def __init__(self, console: Console) -> None:
        self._region = LiveRegion(console)
        self._io = console.io
        self.shows_status = console.io.stderr_tty and not console.quiet
        #: Returns the lines of the open block.
        self._open_lines: Callable[[os.terminal_size], Sequence[str]] = lambda size: ()
        self._label: str | Callable[[float], str] = ""
        self._since = self._silent_since = time.monotonic()
        self._drawn_at = 0.0
        self._is_waiting = False
        self._before: object = None
        self._io.transient = self

    @property
    def width(self) -> int:
        return self._region.size.columns

    def show_open_lines(self, lines: Callable[[os.terminal_size], Sequence[str]]) -> None:
        """Show these lines whenever there is a wait; they are taken anew each time."""
        self._open_lines = lines

    def set_status(self, label: str | Callable[[float], str]) -> None:
        """Say what is waited for from now on; a function gets the seconds since then."""
        if label != self._label:
            self._label, self._since = label, time.monotonic()

    def wait(self) -> None:
        """Draw from now on, until something is printed: the program waits."""
        self._io.flush()
        self._is_waiting = True
        if self._before is None:
            self._before = signal.signal(signal.SIGALRM, self._handle_timer)
            signal.setitimer(signal.ITIMER_REAL, _INTERVAL_S, _INTERVAL_S)
        if time.monotonic() - self._drawn_at >= _INTERVAL_S:
            self._draw()

    def pause(self) -> None:
        """Leave what is drawn as it is, and do not draw: the program works."""
        self._is_waiting = False

    def hide(self) -> None:
        """Erase everything: something else is printed now."""
        self._is_waiting = False
        self._silent_since = time.monotonic()
        self._region.hide()

    def close(self) -> None:
        """Erase everything and stop the timer."""
        self.hide()
        self._io.transient = None
        if self._before is not None:  # the handler stays: a last signal may be on its way
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._before = None

    def _handle_timer(self, signum: int, frame: FrameType | None) -> None:
        if self._is_waiting:
            self._draw()

    def _draw(self) -> None:
        now = self._drawn_at = time.monotonic()
        size = self._region.size
        lines = self._open_lines(size)
        if not lines and self.shows_status and self._label and now - self._silent_since >= _STATUS_AFTER_S:
            lines = [truncate(f"{_FRAMES[int(now * 10) % len(_FRAMES)]} {self._describe(now)}", size.columns - 1)]
        self._region.show(lines)

    def _describe(self, now: float) -> str:
        seconds = now - self._since
        if callable(self._label):
            return safe_line(self._label(seconds))
        return f"{safe_line(self._label)} {int(seconds)} s"
