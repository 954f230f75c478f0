"""Copies of a hub, made while it is in use, and a copy put in the hub's place."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator

from llmctl.core.errors import NotFoundError, StorageError, UsageError
from llmctl.core.ids import new_id
from llmctl.store.database import BUSY_TIMEOUT_MS, Database
from llmctl.store.errors import storage_errors
from llmctl.store.maintenance import wal
from llmctl.store.schema import ddl

#: Takes pages done and pages in all.
Progress = Callable[[int, int], None]

#: Few enough for a progress line to move, enough for the copy to be quick.
_PAGES = 2048


def connect(path: str, mode: str = "ro") -> sqlite3.Connection:
    """Open a database file as it is, hub or not; ``mode`` is SQLite's: ``ro``, ``rw``, ``rwc``."""
    escaped = "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in os.path.abspath(path))
    return sqlite3.connect(
        f"file:{escaped}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000
    )


def back_up(database: Database, target: str, *, force: bool = False, progress: Progress | None = None) -> int:
    """Copy an open hub into the file ``target``, whole and checked or not at all; return its size in bytes.

    The copy is one file of mode 0600. Raises UsageError where ``target`` exists (unless ``force``) or is the hub.
    """
    if os.path.exists(target) and os.path.exists(database.path) and os.path.samefile(database.path, target):
        raise UsageError(f'"{target}" is the hub itself', hint="name another file for the copy")
    if os.path.isdir(target):
        raise UsageError(f'"{target}" is a folder', hint="name a file in it")
    if os.path.lexists(target) and not force:
        raise UsageError(f'"{target}" exists already', hint="choose another name, or overwrite it with --force")
    with storage_errors(database.path):
        return _write(database.connection, target, force, progress)


def back_up_beside(path: str, why: str, *, progress: Progress | None = None) -> str:
    """Copy a database into a new file beside it, named after the time and the reason; return the path.

    By a connection of its own: the caller may hold the lock for writing.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name, number = f"{path}.{stamp}.{why}.bak", 1
    while os.path.exists(name):
        number += 1
        name = f"{path}.{stamp}.{why}-{number}.bak"
    with storage_errors(path), contextlib.closing(connect(path)) as source:
        _write(source, name, False, progress)
    return name


def beside(path: str) -> list[str]:
    """Return the copies of a hub that llmctl made beside it."""
    folder, name = os.path.split(os.path.abspath(path))
    with contextlib.suppress(OSError):
        found = [entry for entry in os.listdir(folder) if entry.startswith(f"{name}.") and entry.endswith(".bak")]
        return [os.path.join(folder, entry) for entry in sorted(found)]
    return []


def restore(path: str, source: str, *, progress: Progress | None = None) -> str | None:
    """Put the copy ``source`` in the place of the hub at ``path``; return where the old hub is kept.

    Who reads the hub meanwhile sees the old one or the new one, whole. Raises NotFoundError for no such file and
    StorageError for one that is no hub, is damaged, or is newer than this program; then nothing is changed.
    """
    if not os.path.isfile(source):
        raise NotFoundError(f'no file "{source}"')
    if os.path.exists(path) and os.path.samefile(path, source):
        raise UsageError(f'"{source}" is the hub itself', hint="name the copy that shall take its place")
    with storage_errors(source), contextlib.closing(connect(source)) as copy:
        check_hub(copy, source)
        if _is_database(path):
            old = back_up_beside(path, "before-restore", progress=progress)
            with storage_errors(path), contextlib.closing(connect(path, "rw")) as hub:
                _overwrite(copy, hub, progress)
            return old
        kept = _move_aside(path)
        with _draft(path) as draft:
            _copy(copy, draft, progress, journal="wal")
            _put_in_place(draft, path, False)
        return kept


def check_hub(connection: sqlite3.Connection, path: str) -> None:
    """Raise StorageError unless this is a whole hub that this program understands."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hub_meta'").fetchone()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not known or not version:
        raise StorageError(f'"{path}" is a database, but not a hub', reason="not_a_hub")
    if version > ddl.VERSION:
        raise StorageError(
            f'"{path}" was written by a newer llmctl (schema {version}, this program knows {ddl.VERSION})',
            hint="upgrade llmctl",
            reason="newer_hub",
        )
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageError(f'"{path}" is damaged: {found}', hint="use another copy", reason="corrupt")


def copy_of(database: Database, place: str) -> str:
    """Copy an open hub into a new file beside ``place`` for a trial; the caller removes it."""
    target = f"{place}.{os.getpid()}-{new_id()[:8]}.trial"
    back_up(database, target)
    return target


def _write(source: sqlite3.Connection, target: str, force: bool, progress: Progress | None) -> int:
    with _draft(target) as draft:
        _copy(source, draft, progress)
        _put_in_place(draft, target, force)
    return os.path.getsize(target)


def _copy(source: sqlite3.Connection, draft: str, progress: Progress | None, journal: str = "delete") -> None:
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES, progress=_told(progress))
        # A copy is one file, and can be read where nothing can be written; a hub is in write-ahead mode.
        copy.execute(f"PRAGMA journal_mode={journal}")
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StorageError(f"the copy is damaged: {found}", hint="see: llmctl db check", reason="corrupt")


def _overwrite(copy: sqlite3.Connection, hub: sqlite3.Connection, progress: Progress | None) -> None:
    sizes = {connection.execute("PRAGMA page_size").fetchone()[0] for connection in (copy, hub)}
    if len(sizes) > 1:  # which a database in write-ahead mode cannot change
        hub.execute("PRAGMA journal_mode=DELETE")
    copy.backup(hub, pages=_PAGES, progress=_told(progress))
    hub.execute("PRAGMA journal_mode=WAL")
    wal.empty(hub)


def _told(progress: Progress | None) -> Callable[[int, int, int], None] | None:
    if progress is None:
        return None
    return lambda status, remaining, total: progress(total - remaining, total)


@contextlib.contextmanager
def _draft(target: str) -> Iterator[str]:
    """Give an empty file of mode 0600 beside ``target``; it is gone afterwards unless it was put in place."""
    draft = f"{target}.{os.getpid()}-{new_id()[:8]}.new"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield draft
    except OSError as error:
        raise StorageError(
            f'cannot write "{target}": {(error.strerror or str(error)).lower()}', hint="choose another place"
        ) from error
    finally:
        for leftover in (draft, f"{draft}-wal", f"{draft}-shm", f"{draft}-journal"):
            with contextlib.suppress(OSError):
                os.unlink(leftover)


def _put_in_place(draft: str, target: str, force: bool) -> None:
    _sync(draft)
    if force:
        os.replace(draft, target)
    else:
        try:
            os.link(draft, target)
        except FileExistsError:
            raise UsageError(f'"{target}" exists already', hint="choose another name") from None
        except OSError:  # a file system without hard links
            os.rename(draft, target)
    _sync(os.path.dirname(os.path.abspath(target)))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_database(path: str) -> bool:
    """Tell whether a copy can be written over this file by SQLite itself."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _move_aside(path: str) -> str | None:
    """Give a damaged hub, with its side files, another name."""
    if not os.path.lexists(path):
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = f"{path}.{stamp}.damaged.bak"
    for suffix in ("", "-wal", "-shm"):
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, kept + suffix)
    return kept
