"""Files beside a database: drafts that are put in place when they are complete, and side files of an earlier one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from llmctl.core.stored_values import new_id

#: What SQLite keeps beside a database that is in use. It belongs to that file: another one would be damaged by it.
SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
_DRAFT_END = r"\.(\d+)-[0-9a-f]{8}\.(?:new|trial)"


@contextmanager
def draft_file(target: str) -> Iterator[str]:
    """Yield the path of an empty file with mode 0600 beside ``target``; what is left of it is removed afterwards.

    Removes drafts of killed processes for the same target first.
    """
    for left in list_dead_drafts(target):
        remove_database(left)
    draft = f"{target}.{os.getpid()}-{new_id()[:8]}.new"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield draft
    finally:
        remove_database(draft)


def list_dead_drafts(target: str) -> list[str]:
    """Return the drafts for a file that processes left when they were killed."""
    folder, name = os.path.split(os.path.abspath(target))
    pattern = re.compile(re.escape(name) + _DRAFT_END)
    found = []
    with suppress(OSError):
        for entry in sorted(os.listdir(folder)):
            match = pattern.fullmatch(entry)
            if match and not _is_running(int(match[1])):
                found.append(os.path.join(folder, entry))
    return found


def remove_database(path: str) -> None:
    """Remove a database and its side files; missing ones are no error."""
    for suffix in ("", *SIDE_SUFFIXES):
        with suppress(OSError):
            os.unlink(path + suffix)


def move_side_files_aside(path: str) -> list[tuple[str, str]]:
    """Rename the side files that are left of an earlier database at ``path``; return old and new paths.

    SQLite would apply them to the next database there.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    moved = []
    for suffix in SIDE_SUFFIXES:
        if os.path.lexists(path + suffix):
            target = free_name(f"{path}.{stamp}.left{suffix}")
            os.rename(path + suffix, target)
            moved.append((path + suffix, target))
    return moved


def free_name(start: str, end: str = ".bak") -> str:
    """Return the name of a file that does not exist: ``START.bak``, ``START-2.bak``."""
    name, number = f"{start}{end}", 1
    while os.path.lexists(name):
        number += 1
        name = f"{start}-{number}{end}"
    return name


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
