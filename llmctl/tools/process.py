"""Other programs: started, fed, watched and ended here, and nowhere else.

A program gets its own session, so that it and all it starts can be ended together, has no terminal to ask at,
and never sees our stdin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from llmctl.core.clock import elapsed_ms
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError
from llmctl.core.signals import Signalled, uninterrupted
from llmctl.tools.process_io import Guest, Talk, kill

_Process = subprocess.Popen[bytes]

_SET_DUMPABLE = 4

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
    guest: Guest | None = None,
) -> Completed:
    """Run a program, or a string in ``/bin/sh``, and wait for its end.

    When the time is over, or when anything breaks the wait off (a signal that became an exception too), the
    program is killed with all that it started. Each output is kept up to ``max_output_bytes`` and read on beyond;
    ``on_output`` gets every piece as it comes. A program that prints more than ``kill_beyond_bytes`` is killed.
    A child that outlives its program keeps running, but its output is not waited for. Raises NotFoundError or
    ConfigError where nothing can be started.
    """
    begun = time.monotonic()
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    process: _Process | None = None
    talk: Talk | None = None
    try:
        with _signals_held():
            process = _start(argv, env, cwd, subprocess.PIPE if stdin else guest.stdin_fd if guest else None)
            talk = Talk(process, stdin, max_output_bytes, kill_beyond_bytes, on_output, guest)
        if guest:
            guest.on_start(process.pid)
        ended = talk.until(None if timeout_s is None else begun + timeout_s)
        if not ended:
            talk.end(signal.SIGTERM)
        status = process.wait()
    except Signalled as signalled:
        if talk is not None:
            talk.end(signalled.signum)
        raise
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


def detach(argv: Sequence[str], *, env: Mapping[str, str], stdin_fd: int | None = None) -> int:
    """Start a program that outlives this one, in a session of its own and without a terminal; return its pid.

    It may read on from ``stdin_fd``. Raises as :func:`run` does.
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
        raise _not_started(list(argv), None, error) from None
    return process.pid


def hide() -> None:
    """Keep programs of the same user from reading this process's environment and memory, where the system can.

    https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html; programs that are started get theirs back.
    """
    if sys.platform == "linux":
        import ctypes  # 10 ms: only for those who run tools

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def kill_all() -> None:
    """Kill every program that threads still wait for: for a process that is about to die."""
    with _lock:
        running = list(_running)
    for process in running:
        kill(process)


def _signals_held() -> AbstractContextManager[None]:
    """Hold signals back until the program is known, or nobody would end it. Only the main thread gets any."""
    main = threading.current_thread() is threading.main_thread()
    return uninterrupted() if main else nullcontext()


def _start(argv: list[str], env: Mapping[str, str], cwd: str | None, stdin: int | None) -> _Process:
    try:
        process = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
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


def _leave(process: _Process) -> None:
    """Let go of a program, which dies with this if it still runs."""
    kill(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    with _lock:
        _running.discard(process)
