"""Spool writes that failed into a file next to the hub; the next run replays them.

One JSON array per line: ``["insert", table, row]``, ``["update", table, id, changes, where]``,
``["delete", table, where]``; bytes as ``{"base64": ...}``. Appends are locked and atomic, so that many processes
can share one spool.
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

from llmctl.core.environment import make_private_folder
from llmctl.core.stored_values import dumps
from llmctl.store.database import (
    WRITE_ERRORS,
    Database,
    Delete,
    Insert,
    Update,
    Write,
    to_storable_write,
    translate_error,
)
from llmctl.store.opening import MEMORY, spool_paths
from llmctl.store.schema import ddl


def append(
    hub_path: str, writes: Iterable[Write], fallback_folder: str | None = None, *, first: str | None = None
) -> str:
    """Append writes to the spool; return its path. Raises OSError if no path is writable.

    ``first`` is the spool file of earlier writes of the same turn: the only one for the others, to keep their order.
    """
    data = b"".join(map(_to_line, writes))
    problem: OSError | None = None
    for place in [first] if first else spool_paths(hub_path, fallback_folder):
        try:
            make_private_folder(os.path.dirname(os.path.abspath(place)))
            return _append(place, data)
        except OSError as error:
            problem = error
    raise problem or OSError("no path for a spool file")


def replay(database: Database, fallback_folder: str | None = None) -> int:
    """Apply spooled writes to the hub, one transaction per file; return how many were applied.

    Existing rows stay as they are: replaying a spool twice is safe. Unreadable lines are kept in another file.
    """
    if database.path == MEMORY:
        return 0
    # The fallback first: a turn that began there continues there unless that is full, too.
    waiting = [place for place in reversed(spool_paths(database.path, fallback_folder)) if os.path.exists(place)]
    return sum(_replay_file(database, place) for place in waiting)


def _append(place: str, data: bytes) -> str:
    descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_same_file(place, descriptor):  # replayed while we waited for the lock
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


def _is_same_file(place: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.stat(place).st_ino == os.fstat(descriptor).st_ino
    return False


def _replay_file(database: Database, place: str) -> int:
    # Nothing to do if the file no longer exists or belongs to another user.
    with suppress(OSError), open(place, "r+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_same_file(place, file.fileno()):  # another process replayed it
            return 0
        writes = [_parse_line(line) for line in file]
        with database.transaction(durable=True):
            taken = sum(_apply(database, write) for write in writes if write)
        if None in writes:
            os.replace(place, f"{place}.unreadable")
        else:
            file.truncate(0)
            os.unlink(place)
        return taken
    return 0


def _parse_line(line: str) -> Write | None:
    """Return the write in a line, or None if it is unreadable: a power cut can truncate the last line."""
    try:
        write = _from_json(json.loads(line))
    except ValueError:
        return None
    return write if write.table in ddl.TABLES else None


def _apply(database: Database, write: Write) -> bool:
    """Apply a write unless the hub has moved on: row exists, message finished, chat deleted.

    A write that no hub takes is left out, too: it must not keep the others waiting for ever.
    """
    try:
        with database.savepoint():
            database.apply(to_storable_write(write))
    except WRITE_ERRORS as error:
        if isinstance(error, sqlite3.DatabaseError) and translate_error(error, database.path) is not error:
            raise  # the file: all of it can wait
        return False
    return True


def _to_line(write: Write) -> bytes:
    return f"{dumps(_to_json(to_storable_write(write)))}\n".encode()


def _to_json(write: Write) -> list[Any]:
    match write:
        case Insert(table, row):
            return ["insert", table, _encode_blobs(row)]
        case Update(table, id, changes, where):
            return ["update", table, id, _encode_blobs(changes), _encode_blobs(where)]
        case Delete(table, where):
            return ["delete", table, _encode_blobs(where)]


def _from_json(item: list[Any]) -> Write:
    match item:
        case ["insert", str(table), dict(row)]:
            return Insert(table, _decode_blobs(row))
        case ["update", str(table), str(id), dict(changes), dict(where)]:
            return Update(table, id, _decode_blobs(changes), _decode_blobs(where))
        case ["delete", str(table), dict(where)]:
            return Delete(table, _decode_blobs(where))
    raise ValueError(f"not a write: {item!r}")


def _encode_blobs(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def _decode_blobs(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: b64decode(value["base64"]) if isinstance(value, dict) else value for name, value in values.items()}
