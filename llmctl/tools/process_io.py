"""Feeding a program that was started, taking its output as it comes, and ending it."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Protocol

#: How often a program is looked at where the system cannot tell us of its end.
_LOOK_S = 0.02
#: How long output is still read once the program is gone but a child of it keeps the pipe.
_LINGER_S = 0.2
_CHUNK_BYTES = 65536


class Program(Protocol):
    """What is needed of ``subprocess.Popen``."""

    pid: int
    returncode: int | None
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Guest:
    """A program that stands for ours: it has our stdin, its outputs are told apart, it is asked before it is killed."""

    on_stderr: Callable[[bytes], None]
    on_start: Callable[[int], None] = lambda pid: None
    #: Called between pieces; returns the seconds after which it wants to be called again, None for no hurry.
    on_idle: Callable[[], float | None] = lambda: None
    #: None: it has none.
    stdin_fd: int | None = None
    #: Seconds between the signal that ends it and SIGKILL.
    grace_s: float = 5.0


def kill(process: Program) -> None:
    """Kill the program's whole session. One that has been waited for is gone, and its number may be another's."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


class Talk:
    """Feed a program and take its output until it ends."""

    def __init__(
        self,
        process: Program,
        stdin: bytes,
        limit: int,
        end: int | None,
        on_output: Callable[[bytes], None],
        guest: Guest | None,
    ) -> None:
        self.outputs = (bytearray(), bytearray())
        self.truncated = False
        self._guest = guest
        self._seen = 0
        self._end = end
        self._on_output = on_output
        self._process = process
        self._rest = memoryview(stdin)
        self._limit = limit

    @property
    def ran_away(self) -> bool:
        """Whether more was printed than anybody bears."""
        return self._end is not None and self._seen > self._end

    def until(self, deadline: float | None) -> bool:
        """Return True at the program's end; False when the time (``time.monotonic()``) is over, or it ran away."""
        with selectors.DefaultSelector() as selector:
            watch = self._register(selector)
            try:
                return self._loop(selector, deadline, watch is not None)
            finally:
                if watch is not None:
                    os.close(watch)

    def end(self, signum: int) -> None:
        """End the program: a guest is asked first, and heard until it goes or its grace is over."""
        if self._guest and self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signum)
            self._end = None
            self.until(time.monotonic() + self._guest.grace_s)
        kill(self._process)

    def _register(self, selector: selectors.BaseSelector) -> int | None:
        process = self._process
        for number, pipe in enumerate((process.stdout, process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, self.outputs[number])
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        try:
            watch = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, or too old
            return None
        selector.register(watch, selectors.EVENT_READ, "end")
        return watch

    def _loop(self, selector: selectors.BaseSelector, deadline: float | None, told: bool) -> bool:
        while True:
            if self._process.poll() is not None:
                self._drain(selector)
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if self.ran_away or (left is not None and left <= 0):
                return False
            if not told:
                left = min(_LOOK_S, _LOOK_S if left is None else left)
            wanted = self._guest.on_idle() if self._guest else None
            self._move(selector, wanted if left is None else left if wanted is None else min(left, wanted))

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Read what the program left in its pipes."""
        for key in list(selector.get_map().values()):
            if not isinstance(key.data, bytearray):
                selector.unregister(key.fileobj)
        until = time.monotonic() + _LINGER_S
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            self._move(selector, left)

    def _move(self, selector: selectors.BaseSelector, wait_s: float | None) -> None:
        for key, _ in selector.select(wait_s):
            if key.data is None:
                open_still = self._write(key.fd)
            elif isinstance(key.data, bytearray):
                open_still = self._read(key.fd, key.data)
            else:
                open_still = False  # the program ended: the loop looks for itself
            if not open_still:
                selector.unregister(key.fileobj)
                if key.data is None and self._process.stdin is not None:
                    self._process.stdin.close()

    def _write(self, fd: int) -> bool:
        try:
            self._rest = self._rest[os.write(fd, self._rest[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._rest)

    def _read(self, fd: int, output: bytearray) -> bool:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if data:
            self._seen += len(data)
            told = self._guest and output is self.outputs[1]
            (self._guest.on_stderr if self._guest and told else self._on_output)(data)
        room = self._limit - len(output)
        output += data[:room]
        self.truncated |= len(data) > room
        return bool(data)
