"""Keep HTTP exchanges on disk while they pass, one file each, until they are recorded in the hub.

A file begins before its request is sent and grows before each piece is passed on. It survives the death of the process
that writes it, though not a power cut: nothing is synced. The folder of a running proxy is locked; whoever finds an
unlocked one may record what is in it.

A file is a sequence of frames: a JSON object in a line, which names the kind and the size of the bytes that follow.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.stored_values import dumps

_LOCK = "lock"
_END = ".exchange"


class ExchangeFolder:
    """The files of one proxy. Raises OSError where they cannot be written."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def create(cls, parent: str, name: str) -> ExchangeFolder:
        """Make and lock a folder for a new proxy."""
        path = os.path.join(parent, name)
        os.makedirs(parent, 0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        return cls(path, _lock_folder(path))

    @classmethod
    def take_over(cls, path: str) -> ExchangeFolder | None:
        """Lock the folder that a dead proxy left; None where it lives, or another process was quicker."""
        try:
            return cls(path, _lock_folder(path))
        except OSError:
            return None

    def close(self) -> None:
        """Unlock the folder, and remove it if nothing waits in it."""
        with suppress(OSError):
            if not any(name.endswith(_END) for name in os.listdir(self.path)):
                os.unlink(os.path.join(self.path, _LOCK))
                os.rmdir(self.path)
        os.close(self.lock)

    def list_ids(self) -> list[str]:
        """Return the ids of the exchanges that are not recorded, oldest first."""
        return self.list_ids_in(self.path)

    @staticmethod
    def list_ids_in(path: str) -> list[str]:
        """Return the ids of the exchanges in a folder, oldest first."""
        return sorted(name.removesuffix(_END) for name in os.listdir(path) if name.endswith(_END))

    def begin(self, exchange_id: str, about: Mapping[str, Any], max_bytes: int) -> ExchangeWriter:
        """Begin the file of an exchange. ``about`` is what is known of it; ids sort by time."""
        path = self.file_of(exchange_id)
        return ExchangeWriter(
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600), about, max_bytes
        )

    def file_of(self, exchange_id: str) -> str:
        return os.path.join(self.path, exchange_id + _END)

    def remove(self, exchange_id: str) -> None:
        """Remove the file of an exchange that is recorded."""
        with suppress(FileNotFoundError):
            os.unlink(self.file_of(exchange_id))


def list_folders(parent: str) -> list[str]:
    """Return the folders of running and dead proxies."""
    try:
        return sorted(entry.path for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _lock_folder(path: str) -> int:
    descriptor = os.open(os.path.join(path, _LOCK), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _Side:
    """One direction of an exchange: how much passed, and whether all of it is kept."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self.size = 0
        self.hash = hashlib.sha256()

    def take(self, data: bytes) -> bytes:
        """Count a piece, and return what is kept of it."""
        self.size += len(data)
        self.hash.update(data)
        kept = data[: self._left]
        self._left -= len(kept)
        return kept


class ExchangeWriter:
    """Writes the file of one exchange. Every method raises OSError where the disk takes nothing."""

    def __init__(self, descriptor: int, about: Mapping[str, Any], max_bytes: int) -> None:
        self._descriptor = descriptor
        self._started = time.monotonic()
        self._request, self._answer = _Side(max_bytes), _Side(max_bytes)
        self._waiting = _frame("begin", {"about": about})

    def add_request(self, data: bytes) -> None:
        """Keep a piece of the request; :meth:`flush` writes it."""
        if kept := self._request.take(data):
            self._waiting += _frame("request", {}, kept)

    def end_request(self) -> None:
        self._waiting += _frame("sent", {"size": self._request.size, "sha256": self._request.hash.hexdigest()})
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, b""
        while waiting:
            waiting = waiting[os.write(self._descriptor, waiting) :]

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        self._waiting += _frame("response", {"status": status, "headers": headers, "ms": self._elapsed_ms()})
        self.flush()

    def add_answer(self, data: bytes) -> None:
        if kept := self._answer.take(data):
            self._waiting += _frame("answer", {"ms": self._elapsed_ms()}, kept)
            self.flush()

    def end(self, error: str | None) -> None:
        """Write the end and close the file."""
        sums = {"size": self._answer.size, "sha256": self._answer.hash.hexdigest()}
        self._waiting += _frame("end", {"error": error, "ms": self._elapsed_ms(), **sums})
        try:
            self.flush()
        finally:
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Close the file without an end: the disk takes no more."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)


def _frame(kind: str, values: Mapping[str, Any], data: bytes = b"") -> bytes:
    return f"{dumps({'kind': kind, 'bytes': len(data), **values})}\n".encode() + data


@dataclass(slots=True)
class StoredExchange:
    """What a file holds. ``ended`` is False for one that is still open, or whose proxy died."""

    about: Mapping[str, Any]
    request: bytes = b""
    #: Bytes of the whole request, of which ``request`` may be the beginning, and their hash; None: not all was sent.
    request_size: int | None = None
    request_hash: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Milliseconds from the beginning to the answer's head.
    first_byte_ms: int | None = None
    #: Milliseconds since the beginning, and what came then.
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    answer_size: int = 0
    duration_ms: int | None = None
    #: How it broke off: ``client``, ``connect``, ``cut`` or ``timeout``.
    error: str | None = None
    ended: bool = False


def read_exchange(path: str) -> StoredExchange | None:
    """Return the exchange in a file, without a last frame that was cut; None if it has not begun.

    Raises OSError where the file cannot be read.
    """
    found: StoredExchange | None = None
    with open(path, "rb") as file:
        for frame, data in _read_frames(file.read()):
            if frame["kind"] == "begin":
                found = StoredExchange(frame["about"])
            elif found:
                _add_frame(found, frame, data)
    return found


def _read_frames(content: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    place = 0
    while (end := content.find(b"\n", place)) >= 0:
        try:
            frame = json.loads(content[place:end])
        except ValueError:
            return
        place = end + 1 + frame["bytes"]
        if place > len(content):
            return
        yield frame, content[end + 1 : place]


def _add_frame(found: StoredExchange, frame: Mapping[str, Any], data: bytes) -> None:
    match frame["kind"]:
        case "request":
            found.request += data
        case "sent":
            found.request_size, found.request_hash = frame["size"], frame["sha256"]
        case "response":
            found.status, found.headers, found.first_byte_ms = frame["status"], frame["headers"], frame["ms"]
        case "answer":
            found.pieces.append((frame["ms"], data))
            found.answer_size += len(data)
        case "end":
            found.error, found.duration_ms, found.ended = frame["error"], frame["ms"], True
            found.answer_size = frame["size"]
