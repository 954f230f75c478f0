"""Wait for a lock on a hub, for as long as the hub is being written to. Loaded where a writer has to wait."""

from __future__ import annotations

import fcntl
import os
import time
from _thread import allocate_lock, start_new_thread
from contextlib import suppress

from llmctl.core.signals import block_signals

#: Seconds between two looks at whether anything was written.
_LOOK_INTERVAL_S = 0.5


class Patience:
    """How long to wait: a slow machine takes long, but writes to the hub; a program that is stuck does not."""

    def __init__(self, path: str, limit_ms: int) -> None:
        self._files = (path, f"{path}-wal")
        self._limit_ms = limit_ms
        self._seen = self._look()
        self._since = time.monotonic()

    def is_over(self) -> bool:
        """Return whether nothing was written for the whole time limit."""
        now, seen = time.monotonic(), self._look()
        if seen != self._seen:
            self._seen, self._since = seen, now
        return (now - self._since) * 1000 > self._limit_ms

    def _look(self) -> tuple[tuple[int, int], ...]:
        return tuple(map(_size_and_time, self._files))


def wait_for_flock(fd: int, patience: Patience) -> bool:
    """Wait for an exclusive flock; return False when patience is over: then the file is closed.

    The kernel serves in the order of arrival only who waits in it, and gives no time limit: another thread waits
    there, so that this one handles signals and looks at what goes on.
    """
    waiter = _Waiter(fd)
    try:
        with block_signals():
            start_new_thread(waiter.wait, ())
    except RuntimeError:  # no more threads
        os.close(fd)
        return False
    try:
        while not waiter.has_ended.acquire(timeout=_LOOK_INTERVAL_S):
            if patience.is_over():
                waiter.give_up()
                return False
    except BaseException:
        waiter.give_up()
        raise
    return True


class _Waiter:
    """A thread that waits for a lock; it closes the file if its caller has given up by then."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._guard = allocate_lock()
        self._is_wanted = True
        self._is_waiting = True
        #: Held until the thread has the lock.
        self.has_ended = allocate_lock()
        self.has_ended.acquire()

    def wait(self) -> None:
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._guard:
            self._is_waiting = False
            if self._is_wanted:
                self.has_ended.release()
            else:
                os.close(self._fd)

    def give_up(self) -> None:
        with self._guard:
            self._is_wanted = False
            if not self._is_waiting:
                os.close(self._fd)


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_size, info.st_mtime_ns
