"""Other programs: started, fed, watched and ended here, and nowhere else.

A program gets its own session, so that it and all it starts can be ended together, has no terminal to ask at,
and never sees our stdin.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from llmctl.core.clock import elapsed_ms
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError
from llmctl.core.interrupt import uninterrupted

#: How often a program is looked at where the system cannot tell us of its end.
_LOOK_S = 0.02
#: How long output is still read once the program is gone but a child of it keeps the pipe.
_LINGER_S = 0.2
_CHUNK_BYTES = 65536

_Process = subprocess.Popen[bytes]

_running: set[_Process] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended. A death by signal N is status 128 + N, as a shell says it."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    duration_ms: int
    #: Output went past ``max_output_bytes``; what is here is its beginning.
    truncated: bool = False
    #: Output went past ``kill_beyond_bytes``, and the program was killed for it.
    ran_away: bool = False


def run(
    command: str | Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: bytes = b"",
    cwd: str | None = None,
    timeout_s: float | None = None,
    max_output_bytes: int = 1_000_000,
    kill_beyond_bytes: int | None = None,
    on_output: Callable[[bytes], None] = lambda data: None,
) -> Completed:
    """Run a program, or a string in ``/bin/sh``, and wait for its end.

    When the time is over, or when anything breaks the wait off (a signal that became an exception too), the
    program is killed with all that it started. Each output is kept up to ``max_output_bytes`` and read on beyond;
    ``on_output`` gets every piece of either as it comes. A program that prints more than ``kill_beyond_bytes`` in all
    is killed.
    A child that outlives its program keeps running, but its output is not waited for. Raises NotFoundError or
    ConfigError where nothing can be started.
    """
    begun = time.monotonic()
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    process: _Process | None = None
    try:
        with _signals_held():
            process = _start(argv, env, cwd, bool(stdin))
        talk = _Talk(process, stdin, max_output_bytes, kill_beyond_bytes, on_output)
        ended = talk.until(None if timeout_s is None else begun + timeout_s)
        if not ended:
            _kill(process)
        status = process.wait()
    finally:
        if process is not None:
            _leave(process)
    return Completed(
        exit_status=status if status >= 0 else 128 - status,
        stdout=bytes(talk.outputs[0]),
        stderr=bytes(talk.outputs[1]),
        timed_out=not ended and not talk.ran_away,
        duration_ms=elapsed_ms(begun),
        truncated=talk.truncated,
        ran_away=talk.ran_away,
    )


def kill_all() -> None:
    """Kill every program that threads still wait for: for a process that is about to die."""
    with _lock:
        running = list(_running)
    for process in running:
        _kill(process)


def _signals_held() -> AbstractContextManager[None]:
    """Hold signals back until the program is known, or nobody would end it. Only the main thread gets any."""
    main = threading.current_thread() is threading.main_thread()
    return uninterrupted() if main else nullcontext()


def _start(argv: list[str], env: Mapping[str, str], cwd: str | None, fed: bool) -> _Process:
    try:
        process = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _not_started(argv, cwd, error) from None
    with _lock:
        _running.add(process)
    return process


def _not_started(argv: list[str], cwd: str | None, error: OSError | ValueError) -> LlmctlError:
    if cwd is not None and not os.path.isdir(cwd):
        return NotFoundError(f'no folder "{cwd}" to run "{argv[0]}" in')
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f'no program "{argv[0]}"', hint="is it installed and on PATH?")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f'cannot run "{argv[0]}": {(reason or "unknown reason").lower()}')


def _kill(process: _Process) -> None:
    """Kill the program's whole session. One that has been waited for is gone, and its number may be another's."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _leave(process: _Process) -> None:
    """Let go of a program, which dies with this if it still runs."""
    _kill(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    with _lock:
        _running.discard(process)


class _Talk:
    """Feed a program and take its output until it ends."""

    def __init__(
        self, process: _Process, stdin: bytes, limit: int, end: int | None, on_output: Callable[[bytes], None]
    ) -> None:
        self.outputs = (bytearray(), bytearray())
        self.truncated = False
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
            self._move(selector, left)

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
            self._on_output(data)
        room = self._limit - len(output)
        output += data[:room]
        self.truncated |= len(data) > room
        return bool(data)
