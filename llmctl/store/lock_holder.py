"""Name the process that keeps a hub locked, where the system tells: Linux in ``/proc/locks``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

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
