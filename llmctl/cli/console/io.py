"""The process's three streams: UTF-8 whatever the locale, closed ones stood in for, a broken stdout made plain."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, TextIO

from llmctl.core.errors import LlmctlError
from llmctl.core.signals import Signalled


class Streams:
    """stdin, stdout and stderr with what is known of them. Commands write through this, never with ``print``."""

    def __init__(self, stdin: Any, stdout: TextIO, stderr: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        #: None where stdin is no real file (a test's).
        self.stdin_fd = _descriptor(stdin)
        self.stdin_tty: bool = stdin.isatty()
        self.stdout_tty: bool = stdout.isatty()
        self.stderr_tty: bool = stderr.isatty()

    def write(self, text: str) -> None:
        """Write to stdout. A reader that left is a death by SIGPIPE; any other failure an error (exit 1)."""
        try:
            self.stdout.write(text)
        except OSError as error:
            raise _undelivered(error) from error

    def flush(self) -> None:
        """Let stdout's reader have what was written; fails like :meth:`write`."""
        try:
            self.stdout.flush()
        except OSError as error:
            raise _undelivered(error) from error

    def write_bytes(self, data: bytes) -> None:
        """Write bytes to stdout as they are."""
        self.flush()
        try:
            self.stdout.buffer.write(data)
        except OSError as error:
            raise _undelivered(error) from error

    def say_bytes(self, data: bytes) -> None:
        """Write bytes to stderr as they are."""
        with suppress(OSError):
            self.stderr.flush()
            self.stderr.buffer.write(data)
            self.stderr.flush()

    def say(self, text: str) -> None:
        """Write to stderr. Nobody is left to hear of it where that fails."""
        with suppress(OSError):
            self.stderr.write(text)
            self.stderr.flush()


def process_streams() -> Streams:
    """Return the streams of this process, made fit: UTF-8, and none of the descriptors 0 to 2 free.

    A free one would be given to the next file that is opened: the hub would get what is meant for stdout.
    """
    _open_missing()
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = _fit(sys.stdout or _stream(1, "w"))
    sys.stderr = _fit(sys.stderr or _stream(2, "w"))
    return Streams(sys.stdin, sys.stdout, sys.stderr)


def _open_missing() -> None:
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # stdout is opened for reading, so that writing to it fails as it would have.
            os.open(os.devnull, os.O_RDWR if fd == 2 else os.O_RDONLY)


def _stream(fd: int, mode: str) -> Any:
    return open(fd, mode, encoding="utf-8", closefd=False)


def _fit(stream: Any) -> Any:
    """Make an output stream UTF-8, and blocking: a parent like Node shares pipes that refuse what they cannot hold."""
    fd = _descriptor(stream)
    if fd is not None and not os.get_blocking(fd):
        os.set_blocking(fd, True)
    # backslashreplace: half a surrogate pair, which UTF-8 cannot hold, stays legible (and is right in JSON).
    stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _undelivered(error: OSError) -> BaseException:
    if isinstance(error, BrokenPipeError):
        return Signalled(signal.SIGPIPE)
    return LlmctlError(f"cannot write to standard output: {error.strerror or error}", reason="output")


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
