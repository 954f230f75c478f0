"""What could not be written into the hub waits in a file beside it, until the next run takes it in.

One JSON array per line: ``["insert", table, row]``, ``["update", table, id, changes, where]``,
``["delete", table, where]``; bytes as ``{"base64": ...}``. Each append is whole and locked, so that many processes
may share one spool.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from llmctl.store.database import Database
from llmctl.store.opening import MEMORY
from llmctl.store.schema import ddl
from llmctl.store.writes import Delete, Insert, Update, Write


def places(hub_path: str, fallback_folder: str | None) -> list[str]:
    """Return where a hub's spool may be: beside it, and where the hub's own disk is full or read-only."""
    path = os.path.realpath(hub_path)  # whatever link led to it
    beside = [f"{path}.spool"]
    if fallback_folder:
        beside.append(os.path.join(fallback_folder, path.replace("/", "%") + ".spool"))
    return beside


def append(
    hub_path: str, writes: Iterable[Write], fallback_folder: str | None = None, *, first: str | None = None
) -> str:
    """Keep writes for later; return the file they are in. Raises OSError where no place takes them.

    ``first`` is the file that earlier writes of the same turn are in: one file keeps their order.
    """
    lines = [json.dumps(_to_json(write), ensure_ascii=False) + "\n" for write in writes]
    data = "".join(lines).encode("utf-8", "replace")
    problem: OSError | None = None
    for place in sorted(places(hub_path, fallback_folder), key=lambda place: place != first):
        try:
            os.makedirs(os.path.dirname(os.path.abspath(place)), mode=0o700, exist_ok=True)
            return _append(place, data)
        except OSError as error:
            problem = error
    raise problem or OSError("no place for a spool file")


def take_in(database: Database, fallback_folder: str | None = None) -> int:
    """Write what waits into the hub, in one transaction; return how many writes that made.

    Rows that are there already stay as they are: a spool may be taken in twice. What cannot be read is kept aside.
    """
    if database.path == MEMORY:
        return 0
    # The fallback first: a turn that began there goes on there unless that, too, is full.
    waiting = [place for place in reversed(places(database.path, fallback_folder)) if os.path.exists(place)]
    return sum(_take_in(database, place) for place in waiting)


def _append(place: str, data: bytes) -> str:
    descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_still(place, descriptor):  # taken in while we waited for the lock
            return _append(place, data)
        size = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, data)
            os.fsync(descriptor)
            if written < len(data):
                raise OSError("short write")
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        return place
    finally:
        os.close(descriptor)


def _is_still(place: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.stat(place).st_ino == os.fstat(descriptor).st_ino
    return False


def _take_in(database: Database, place: str) -> int:
    # Where there is none, or it is another user's, who takes it in, there is nothing to do.
    with suppress(OSError), open(place, "r+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_still(place, file.fileno()):  # another process has taken it in
            return 0
        writes = [_read(line) for line in file]
        with database.transaction(durable=True):
            taken = sum(_apply(database, write) for write in writes if write)
        if None in writes:
            os.replace(place, f"{place}.unreadable")
        else:
            file.truncate(0)
            os.unlink(place)
        return taken
    return 0


def _read(line: str) -> Write | None:
    """Return the write in a line, None where nobody can read it: a power cut may tear the last one."""
    try:
        write = _from_json(json.loads(line))
    except ValueError:
        return None
    return write if write.table in ddl.TABLES else None


def _apply(database: Database, write: Write) -> bool:
    """Apply a write unless the hub has moved on: the row is there, its message is finished, its chat is gone."""
    database.execute("SAVEPOINT spooled")
    try:
        database.writer.apply(write)
    except sqlite3.IntegrityError:
        database.execute("ROLLBACK TO spooled")
        return False
    database.execute("RELEASE spooled")
    return True


def _to_json(write: Write) -> list[Any]:
    match write:
        case Insert(table, row):
            return ["insert", table, _packed(row)]
        case Update(table, id, changes, where):
            return ["update", table, id, _packed(changes), _packed(where)]
        case Delete(table, where):
            return ["delete", table, _packed(where)]


def _from_json(item: list[Any]) -> Write:
    match item:
        case ["insert", str(table), dict(row)]:
            return Insert(table, _unpacked(row))
        case ["update", str(table), str(id), dict(changes), dict(where)]:
            return Update(table, id, _unpacked(changes), _unpacked(where))
        case ["delete", str(table), dict(where)]:
            return Delete(table, _unpacked(where))
    raise ValueError(f"no write: {item!r}")


def _packed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def _unpacked(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in values.items()}
