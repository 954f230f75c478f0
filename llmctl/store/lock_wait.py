"""Wait for a lock on a hub, for as long as the hub is being written to. Loaded where a writer has to wait."""

from __future__ import annotations

import fcntl
import os
import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

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


#: Byte of the WAL index that a writer locks, and the bytes of a database file that stand for writing in other modes:
#: https://sqlite.org/walformat.html#wal_locks, https://sqlite.org/lockingv3.html.
_WAL_WRITE_BYTE = 120
_WRITE_BYTES = range(0x40000000, 0x40000000 + 512)
_LOCKS = "/proc/locks"


class LockHolder(NamedTuple):
    """A process; ``command`` is the name of its program, with the command where it is llmctl."""

    pid: int
    command: str


def find_lock_holder(path: str) -> LockHolder | None:
    """Return the process that has a hub locked for writing; None where there is none or it cannot be seen."""
    files = {_inode(f"{path}-shm"): range(_WAL_WRITE_BYTE, _WAL_WRITE_BYTE + 1), _inode(path): _WRITE_BYTES}
    with suppress(OSError, ValueError), open(_LOCKS, encoding="utf-8") as table:
        for pid, inode, locked in _read_locks(table):
            wanted = files.get(inode)
            if wanted and pid not in (0, os.getpid()) and locked.start < wanted.stop and wanted.start < locked.stop:
                return LockHolder(pid, _read_command(pid))
    return None


def _read_locks(lines: Iterator[str]) -> Iterator[tuple[int, int, range]]:
    """Yield process, inode and bytes of each lock for writing: ``1: POSIX ADVISORY WRITE 4711 fd:01:123 120 120``."""
    for line in lines:
        words = line.split()
        if len(words) == 8 and words[1] in ("POSIX", "OFDLCK") and words[3] == "WRITE":
            end = 1 << 62 if words[7] == "EOF" else int(words[7]) + 1
            yield int(words[4]), int(words[5].rpartition(":")[2]), range(int(words[6]), end)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _read_command(pid: int) -> str:
    """Return what a process runs, without the arguments that a person may not want to see here: prompts."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().rstrip("\0").split("\0")
    except OSError:
        return ""
    place = next(
        (at for at, word in enumerate(words[:4]) if os.path.basename(word) == "llmctl" or word == "llmctl"), None
    )
    if place is None:
        return os.path.basename(words[0])
    return " ".join(["llmctl", *(word for word in words[place + 1 : place + 3] if word.isalpha())])
