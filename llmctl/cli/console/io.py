"""The three standard streams: UTF-8 in any locale, closed descriptors replaced, write errors translated."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, TextIO

from llmctl.core.errors import LlmctlError
from llmctl.core.signals import Signalled


class Streams:
    """stdin, stdout and stderr with their properties. Commands write through this, never with ``print``."""

    def __init__(self, stdin: Any, stdout: TextIO, stderr: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        #: None if stdin has no file descriptor (in tests).
        self.stdin_fd = _find_descriptor(stdin)
        self.stdin_tty: bool = stdin.isatty()
        self.stdout_tty: bool = stdout.isatty()
        self.stderr_tty: bool = stderr.isatty()

    def write(self, text: str) -> None:
        """Write to stdout. A closed pipe raises :class:`Signalled` (SIGPIPE); other failures are errors (exit 1)."""
        try:
            self.stdout.write(text)
        except OSError as error:
            raise _write_error(error) from error

    def flush(self) -> None:
        """Flush stdout; fails like :meth:`write`."""
        try:
            self.stdout.flush()
        except OSError as error:
            raise _write_error(error) from error

    def write_bytes(self, data: bytes) -> None:
        """Write bytes to stdout."""
        self.flush()
        try:
            self.stdout.buffer.write(data)
        except OSError as error:
            raise _write_error(error) from error

    def write_stderr_bytes(self, data: bytes) -> None:
        """Write bytes to stderr; failures are ignored."""
        with suppress(OSError):
            self.stderr.flush()
            self.stderr.buffer.write(data)
            self.stderr.flush()

    def write_stderr(self, text: str) -> None:
        """Write to stderr; failures are ignored, there is nowhere to report them."""
        with suppress(OSError):
            self.stderr.write(text)
            self.stderr.flush()


def process_streams() -> Streams:
    """Return the streams of this process, set to UTF-8, with descriptors 0 to 2 all open.

    The next file opened would get a free descriptor: output for stdout would be written into the hub.
    """
    _open_missing_descriptors()
    sys.stdin = sys.stdin or _open_descriptor(0, "r")
    sys.stdout = _configure_output(sys.stdout or _open_descriptor(1, "w"))
    sys.stderr = _configure_output(sys.stderr or _open_descriptor(2, "w"))
    return Streams(sys.stdin, sys.stdout, sys.stderr)


def _open_missing_descriptors() -> None:
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # stdout is opened read-only, so that writing to it still fails.
            os.open(os.devnull, os.O_RDWR if fd == 2 else os.O_RDONLY)


def _open_descriptor(fd: int, mode: str) -> Any:
    return open(fd, mode, encoding="utf-8", closefd=False)


def _configure_output(stream: Any) -> Any:
    """Set an output stream to UTF-8 and blocking: Node passes non-blocking pipes, and writing to a full one fails."""
    fd = _find_descriptor(stream)
    if fd is not None and not os.get_blocking(fd):
        os.set_blocking(fd, True)
    # backslashreplace: a lone surrogate, which UTF-8 cannot encode, stays readable (and is valid in JSON).
    stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _write_error(error: OSError) -> BaseException:
    if isinstance(error, BrokenPipeError):
        return Signalled(signal.SIGPIPE)
    return LlmctlError(f"cannot write to standard output: {error.strerror or error}", reason="output")


def _find_descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
