"""Run other programs: the only file that starts processes.

A program gets its own session, so that it and all its children can be killed together. It has no controlling terminal,
and does not share our stdin unless requested.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from llmctl.core.clock import elapsed_ms
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError
from llmctl.core.signals import Signalled, defer_signals

_Process = subprocess.Popen[bytes]

_SET_DUMPABLE = 4
#: How often a program is polled if the system cannot notify us of its end.
_POLL_INTERVAL_S = 0.02
#: How long output is still read after the program has ended while a child of it holds the pipe.
_DRAIN_S = 0.2
_CHUNK_BYTES = 65536

#: Programs that a thread waits for.
_running: dict[_Process, threading.Thread] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ForegroundOptions:
    """Options of a program run on behalf of the user: separate outputs, our stdin, SIGTERM before SIGKILL."""

    on_stderr: Callable[[bytes], None]
    on_start: Callable[[int], None] = lambda pid: None
    #: Called between reads; returns the seconds until it has to be called again, or None.
    on_idle: Callable[[], float | None] = lambda: None
    #: None: no stdin.
    stdin_fd: int | None = None
    #: Seconds between SIGTERM and SIGKILL.
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class CompletedProgram:
    """The result of a program. Death by signal N is exit status 128 + N, as in a shell."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    duration_ms: int
    #: Output exceeded ``max_output_bytes``; only its beginning is here.
    truncated: bool = False
    #: Output exceeded ``kill_beyond_bytes``, and the program was killed.
    exceeded_output: bool = False


def run_program(
    command: str | Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: bytes = b"",
    cwd: str | None = None,
    timeout_s: float | None = None,
    max_output_bytes: int = 1_000_000,
    kill_beyond_bytes: int | None = None,
    on_output: Callable[[bytes], None] = lambda data: None,
    foreground: ForegroundOptions | None = None,
) -> CompletedProgram:
    """Run a program, or a string in ``/bin/sh``, and wait for its end.

    On timeout, or if an exception interrupts the wait (a signal too), the program is killed with all its children.
    Each output is kept up to ``max_output_bytes`` and read on beyond that; ``on_output`` gets every piece as it
    arrives. A program that prints more than ``kill_beyond_bytes`` is killed. A child that outlives its program keeps
    running, but its output is not waited for. Raises NotFoundError or ConfigError if the program cannot be started.
    """
    started = time.monotonic()
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    process: _Process | None = None
    io: ProcessIO | None = None
    try:
        with _defer_signals():
            stdin_fd = subprocess.PIPE if stdin else foreground.stdin_fd if foreground else None
            process = _start_process(argv, env, cwd, stdin_fd)
            io = ProcessIO(process, stdin, max_output_bytes, kill_beyond_bytes, on_output, foreground)
        if foreground:
            foreground.on_start(process.pid)
        is_ended = io.run_until(None if timeout_s is None else started + timeout_s)
        if not is_ended:
            io.terminate(signal.SIGTERM)
        status = process.wait()
    except Signalled as signalled:
        if io is not None:
            io.terminate(signalled.signum)
        raise
    finally:
        if process is not None:
            _release(process)
    return CompletedProgram(
        exit_status=status if status >= 0 else 128 - status,
        stdout=bytes(io.outputs[0]),
        stderr=bytes(io.outputs[1]),
        timed_out=not is_ended and not io.exceeded_output,
        duration_ms=elapsed_ms(started),
        truncated=io.truncated,
        exceeded_output=io.exceeded_output,
    )


def start_detached(argv: Sequence[str], *, env: Mapping[str, str], stdin_fd: int | None = None) -> int:
    """Start a program that outlives this one, in its own session and without a terminal; return its pid.

    It reads from ``stdin_fd``, if given. Raises the same errors as :func:`run_program`.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin_fd is None else stdin_fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(env),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _start_error(list(argv), None, error) from None
    return process.pid


def start_helper(
    argv: Sequence[str], *, env: Mapping[str, str], stdin_fd: int, shared_fds: Sequence[int] = ()
) -> Callable[[], int]:
    """Start a program that works for this one, on files that both have open; return what waits for its end.

    It has a session of its own: what ends this process does not end it. The result is its exit status.
    """
    try:
        process = subprocess.Popen(
            list(argv), env=dict(env), stdin=stdin_fd, pass_fds=tuple(shared_fds), start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise _start_error(list(argv), None, error) from None
    return process.wait


def run_on_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a program on our own terminal, such as an editor, and return its exit status as :func:`run_program` does.

    Ctrl-C and Ctrl-\\ are the program's meanwhile, and other signals are passed on. Raises the same errors as
    :func:`run_program`.
    """
    try:
        process = subprocess.Popen(list(argv), env=dict(env))
    except (OSError, ValueError) as error:
        raise _start_error(list(argv), None, error) from None

    def pass_on(signum: int, frame: object) -> None:
        process.send_signal(signum)

    ignored = (signal.SIGINT, signal.SIGQUIT)
    passed = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    handlers = {signum: signal.signal(signum, signal.SIG_IGN) for signum in ignored}
    handlers |= {signum: signal.signal(signum, pass_on) for signum in passed}
    try:
        status = process.wait()
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    return status if status >= 0 else 128 - status


class TerminalFilter:
    """A program on our own terminal that reads what we write to it, such as a pager. The shell runs its command line.

    Ctrl-C is the program's while it is waited for.
    """

    def __init__(self, command: str, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, env=dict(env))
        assert self._process.stdin is not None
        self._input = self._process.stdin

    def write(self, data: bytes) -> bool:
        """Write to its standard input; return False if it reads no more."""
        try:
            self._input.write(data)
        except OSError:
            return False
        return True

    def finish(self) -> int:
        """End its input, wait until it ends, and return its exit status; negative is a signal."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(OSError):
                self._input.close()
            return self._process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def make_undumpable() -> None:
    """Keep other programs of the user from reading the environment and memory of this process (Linux only).

    https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html; programs started from here are dumpable again.
    """
    if sys.platform == "linux":
        import ctypes  # 10 ms: only when tools run

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


class ToolThread(threading.Thread):
    """A thread that runs a tool; it remembers the thread that started it, which may run a tool itself: a sub-agent."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        super().__init__(target=target, args=args, daemon=True)
        self.parent = threading.current_thread()


def kill_started_by(threads: Collection[threading.Thread]) -> None:
    """Kill the programs that these threads and their sub-agents wait for; other turns of this process keep theirs."""
    with _lock:
        running = list(_running.items())
    for process, thread in running:
        if any(one in threads for one in _ancestry(thread)):
            kill_group(process)


def _ancestry(thread: threading.Thread | None) -> Iterator[threading.Thread]:
    """Yield the thread, then those in whose tools it was started."""
    while thread is not None:
        yield thread
        thread = thread.parent if isinstance(thread, ToolThread) else None


def _defer_signals() -> AbstractContextManager[None]:
    """Defer signals until the program is registered, or nothing would kill it. Only the main thread gets signals."""
    is_main = threading.current_thread() is threading.main_thread()
    return defer_signals() if is_main else nullcontext()


def _start_process(argv: list[str], env: Mapping[str, str], cwd: str | None, stdin_fd: int | None) -> _Process:
    try:
        process = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.DEVNULL if stdin_fd is None else stdin_fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _start_error(argv, cwd, error) from None
    with _lock:
        _running[process] = threading.current_thread()
    return process


def _start_error(argv: list[str], cwd: str | None, error: OSError | ValueError) -> LlmctlError:
    if cwd is not None and not os.path.isdir(cwd):
        return NotFoundError(f'cannot run "{argv[0]}": no folder "{cwd}"')
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f'no program "{argv[0]}"', hint="check that it is installed and on PATH")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f'cannot run "{argv[0]}": {(reason or "unknown reason").lower()}')


def _release(process: _Process) -> None:
    """Kill the program if it still runs, and close its pipes."""
    kill_group(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    with _lock:
        _running.pop(process, None)


def kill_group(process: _Process) -> None:
    """Kill the whole session of a program, unless it was waited for: then its pid may belong to another process."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


class ProcessIO:
    """Writes to a program and reads its output until it ends."""

    def __init__(
        self,
        process: _Process,
        stdin: bytes,
        max_output_bytes: int,
        max_total_bytes: int | None,
        on_output: Callable[[bytes], None],
        foreground: ForegroundOptions | None,
    ) -> None:
        self.outputs = (bytearray(), bytearray())
        self.truncated = False
        self._foreground = foreground
        self._total_bytes = 0
        self._max_total_bytes = max_total_bytes
        self._on_output = on_output
        self._process = process
        self._unwritten = memoryview(stdin)
        self._max_output_bytes = max_output_bytes

    @property
    def exceeded_output(self) -> bool:
        """Whether the program printed more than ``max_total_bytes``."""
        return self._max_total_bytes is not None and self._total_bytes > self._max_total_bytes

    def run_until(self, deadline: float | None) -> bool:
        """Return True when the program ends; False at the deadline (``time.monotonic()``) or after too much output."""
        with selectors.DefaultSelector() as selector:
            watch = self._register(selector)
            try:
                return self._loop(selector, deadline, watch is not None)
            finally:
                if watch is not None:
                    os.close(watch)

    def terminate(self, signum: int) -> None:
        """Kill the program. In the foreground it gets ``signum`` and a grace period first; its output is still read."""
        if self._foreground and self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signum)
            self._max_total_bytes = None
            self.run_until(time.monotonic() + self._foreground.grace_s)
        kill_group(self._process)

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

    def _loop(self, selector: selectors.BaseSelector, deadline: float | None, is_notified: bool) -> bool:
        while True:
            if self._process.poll() is not None:
                self._drain(selector)
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if self.exceeded_output or (left is not None and left <= 0):
                return False
            if not is_notified:
                left = min(_POLL_INTERVAL_S, _POLL_INTERVAL_S if left is None else left)
            idle_s = self._foreground.on_idle() if self._foreground else None
            self._transfer(selector, min((wait for wait in (left, idle_s) if wait is not None), default=None))

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Read what is left in the pipes of a program that ended."""
        for key in list(selector.get_map().values()):
            if not isinstance(key.data, bytearray):
                selector.unregister(key.fileobj)
        until = time.monotonic() + _DRAIN_S
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            self._transfer(selector, left)

    def _transfer(self, selector: selectors.BaseSelector, wait_s: float | None) -> None:
        for key, _ in selector.select(wait_s):
            if key.data is None:
                is_open = self._write(key.fd)
            elif isinstance(key.data, bytearray):
                is_open = self._read(key.fd, key.data)
            else:
                is_open = False  # the program ended; the loop checks that itself
            if not is_open:
                selector.unregister(key.fileobj)
                if key.data is None and self._process.stdin is not None:
                    self._process.stdin.close()

    def _write(self, fd: int) -> bool:
        try:
            self._unwritten = self._unwritten[os.write(fd, self._unwritten[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._unwritten)

    def _read(self, fd: int, output: bytearray) -> bool:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if data:
            self._total_bytes += len(data)
            is_stderr = output is self.outputs[1]
            (self._foreground.on_stderr if self._foreground and is_stderr else self._on_output)(data)
        room = self._max_output_bytes - len(output)
        output += data[:room]
        self.truncated |= len(data) > room
        return bool(data)


def ask_ps(pid: int) -> tuple[str, int] | None:
    """Return the state of a process and the seconds since it began, by ps; None if it does not tell.

    The elapsed time is ``[[DD-]HH:]MM:SS`` on every system:
    https://pubs.opengroup.org/onlinepubs/9799919799/utilities/ps.html
    """
    try:
        done = subprocess.run(["ps", "-o", "stat=,etime=", "-p", str(pid)], capture_output=True, text=True, timeout=10)
        state, elapsed = done.stdout.split()
        days, _, clock = elapsed.rpartition("-")
        seconds = 0
        for part in clock.split(":"):
            seconds = seconds * 60 + int(part)
        return state, int(days or 0) * 86_400 + seconds
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
