"""A process on a real terminal, and the screen it draws: a pseudo-terminal whose output a terminal emulator reads.

with Terminal([*LLMCTL, "chat", "-m", "echo"], env, columns=40) as terminal:
    terminal.wait_for("> ")
    terminal.send("hello\\r")
    terminal.wait_for("hello")
    assert terminal.finish() == 0
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyte

from tests.harness import ROOT, TIMEOUT_S

#: What a capable terminal is called; ``build_env`` names none, which is a dumb one.
CAPABLE = "xterm-256color"
#: Bracketed paste, as a terminal sends it where a program has asked for it.
PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"


def paste(text: str) -> str:
    """Return what a terminal sends for a paste: newlines as carriage returns, between two marks."""
    return f"{PASTE_START}{text.replace(chr(10), chr(13))}{PASTE_END}"


class _AnsweringScreen(pyte.HistoryScreen):
    """A screen with a scroll-back, which answers where its cursor is when it is asked, as terminals do."""

    def __init__(self, columns: int, rows: int, reply: Callable[[str], None]) -> None:
        self._reply = reply
        super().__init__(columns, rows, history=100_000)

    def write_process_input(self, data: str) -> None:
        self._reply(data)


class Terminal:
    """A running process on a terminal of its own. ``raw`` is every byte it has written so far."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        term: str = CAPABLE,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        self.raw = b""
        self._drawn = 0
        self._screen: Any = _AnsweringScreen(columns, rows, self.send)
        self._stream: Any = pyte.ByteStream(self._screen)
        self._status: int | None = None
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(cwd or ".")
                self._set_size(0, columns, rows)
                os.execvpe(command[0], list(command), {"PYTHONPATH": ROOT, **env, "TERM": term})
            finally:
                os._exit(127)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process if the test has not ended it."""
        if self._status is None:
            self.signal(signal.SIGKILL)
            self.finish()
        with suppress(OSError):
            os.close(self._fd)

    @property
    def pid(self) -> int:
        return self._pid

    def send(self, text: str | bytes) -> None:
        """Type; Enter is ``\\r``. What the process writes meanwhile is read, so that neither waits for the other.

        It is drawn afterwards: a long paste arrives as quickly as from a terminal.
        """
        data = text.encode() if isinstance(text, str) else text
        while data:
            readable, writable, _ = select.select([self._fd], [self._fd], [], TIMEOUT_S)
            assert readable or writable, "the process does not read its terminal"
            if writable:
                try:
                    data = data[os.write(self._fd, data[:1024]) :]
                except OSError:  # the process has ended
                    return
            elif not self._read():
                return
        self._draw()

    def signal(self, signum: int) -> None:
        """Send a signal to the process."""
        os.kill(self._pid, signum)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; the kernel tells the process."""
        self._screen.resize(rows, columns)
        self._set_size(self._fd, columns, rows)

    def wait_for(self, text: str) -> list[str]:
        """Wait until a text is on the screen; return its lines."""
        return self.wait_until(lambda lines: text in "\n".join(lines) or self._is_on_a_line(text), text)

    def wait_for_prompt(self, prompt: str = "> ") -> list[str]:
        """Wait until the cursor stands right behind a prompt at the beginning of a line: nothing is typed yet."""

        def is_shown(_: list[str]) -> bool:
            column, row = self.cursor
            return column == len(prompt) and self._screen.display[row].startswith(prompt)

        return self.wait_until(is_shown, prompt)

    def wait_until(self, is_shown: Callable[[list[str]], bool], wanted: str = "what is waited for") -> list[str]:
        """Wait until the lines of the screen are as wanted; return them."""
        deadline = time.monotonic() + TIMEOUT_S
        while not is_shown(self.screen()):
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            if not (ready and self._read()):
                raise AssertionError(f"{wanted!r} never came:\n" + "\n".join(self.text()))
        return self.screen()

    def screen(self) -> list[str]:
        """Return the lines that are on the screen, without trailing spaces and blank lines at the end."""
        self._draw()
        return _strip_lines(self._screen.display)

    def text(self) -> list[str]:
        """Return the lines of the scroll-back and of the screen."""
        self._draw()
        rows = [self._line(row) for row in self._screen.history.top]
        return _strip_lines([*rows, *self._screen.display])

    @property
    def cursor(self) -> tuple[int, int]:
        """The column and the row of the cursor, from 0."""
        self._draw()
        return self._screen.cursor.x, self._screen.cursor.y

    def finish(self) -> int:
        """Read on to the end of the process; return its exit code, negative if a signal ended it."""
        if self._status is None:
            deadline = time.monotonic() + TIMEOUT_S
            while select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                if not self._read():
                    break
            else:
                self.signal(signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def _read(self) -> bool:
        """Take in what was written; return whether there may be more."""
        try:
            piece = os.read(self._fd, 65536)
        except OSError:  # what Linux raises when the other side of the terminal is closed
            return False
        self.raw += piece
        return bool(piece)

    def _draw(self) -> None:
        """Draw what was read since the last time. It may ask something, and the answer is typed at once."""
        piece, self._drawn = self.raw[self._drawn :], len(self.raw)
        if piece:
            self._stream.feed(piece)

    def _is_on_a_line(self, text: str) -> bool:
        return any(text in line for line in self._screen.display)

    def _line(self, row: Any) -> str:
        return "".join(row[column].data for column in range(self._screen.columns))

    @staticmethod
    def _set_size(fd: int, columns: int, rows: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _strip_lines(lines: Sequence[str]) -> list[str]:
    stripped = [line.rstrip() for line in lines]
    while stripped and not stripped[-1]:
        stripped.pop()
    return stripped
