"""Back up a hub while it is in use, and restore a copy."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator

from llmctl.core.errors import NotFoundError, StorageError, UsageError
from llmctl.core.stored_values import new_id
from llmctl.store import hub_files
from llmctl.store.database import BUSY_TIMEOUT_MS, Database, WriteQueue, empty_wal, storage_errors
from llmctl.store.schema import ddl

#: Called with pages done and total pages.
Progress = Callable[[int, int], None]

#: Pages per step: few enough for a moving progress line, enough for a fast copy.
_PAGES = 2048


def connect(path: str, mode: str = "ro") -> sqlite3.Connection:
    """Open any database file, hub or not; ``mode`` is SQLite's: ``ro``, ``rw``, ``rwc``."""
    escaped = "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in os.path.abspath(path))
    return sqlite3.connect(
        f"file:{escaped}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000
    )


def back_up(database: Database, target: str, *, force: bool = False, progress: Progress | None = None) -> int:
    """Copy an open hub into the file ``target``, complete and checked or not at all; return its size in bytes.

    The copy is one file with mode 0600. Raises UsageError if ``target`` exists (unless ``force``) or is the hub.
    """
    if os.path.exists(target) and os.path.exists(database.path) and os.path.samefile(database.path, target):
        raise UsageError(f'"{target}" is the hub itself', hint="choose another file for the copy")
    if os.path.isdir(target):
        raise UsageError(f'"{target}" is a folder', hint="choose a file in it")
    if os.path.lexists(target) and not force:
        raise UsageError(f'"{target}" already exists', hint="choose another name, or overwrite it with --force")
    with storage_errors(database.path):
        return _write_copy(database.connection, target, force, progress)


def back_up_beside(path: str, why: str, *, progress: Progress | None = None) -> str:
    """Copy a database into a new file next to it, named by time and reason; return the path.

    It uses its own connection: the caller may hold the write lock.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = hub_files.free_name(f"{path}.{stamp}.{why}")
    with storage_errors(path), contextlib.closing(connect(path)) as source:
        _write_copy(source, name, False, progress)
    return name


def list_backups(path: str) -> list[str]:
    """Return the backups that llmctl made next to a hub."""
    folder, name = os.path.split(os.path.abspath(path))
    with contextlib.suppress(OSError):
        result = [entry for entry in os.listdir(folder) if entry.startswith(f"{name}.") and entry.endswith(".bak")]
        return [os.path.join(folder, entry) for entry in sorted(result)]
    return []


def restore(path: str, source: str, *, progress: Progress | None = None) -> str | None:
    """Replace the hub at ``path`` by the copy ``source``; return the path of the old hub's backup.

    Concurrent readers see either the old or the new hub. Raises NotFoundError for a missing file and
    StorageError for one that is not a hub, is damaged, or is newer than this program; then nothing is changed.
    """
    if not os.path.isfile(source):
        raise NotFoundError(f'no file "{source}"')
    if os.path.exists(path) and os.path.samefile(path, source):
        raise UsageError(f'"{source}" is the hub itself', hint="pass the copy to restore")
    with storage_errors(source), contextlib.closing(connect(source)) as copy:
        check_hub(copy, source)
        if _is_database(path):
            old = back_up_beside(path, "before-restore", progress=progress)
            with storage_errors(path), contextlib.closing(connect(path, "rw")) as hub, _write_turn(hub, path):
                _overwrite(copy, hub, progress)
            return old
        moved_to = _move_aside(path)
        with _draft_file(path) as draft:
            _copy(copy, draft, progress, journal="wal")
            _publish(draft, path, False)
        return moved_to


def check_hub(connection: sqlite3.Connection, path: str) -> None:
    """Raise StorageError unless this is an intact hub that this program supports."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hub_meta'").fetchone()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not known or not version:
        raise StorageError(f'"{path}" is a database, but not a hub', reason="not_a_hub")
    if version > ddl.VERSION:
        raise StorageError(
            f'"{path}" was written by a newer llmctl (schema {version}, this program supports {ddl.VERSION})',
            hint="upgrade llmctl",
            reason="newer_hub",
        )
    value = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if value != "ok":
        raise StorageError(f'"{path}" is damaged: {value}', hint="use another copy", reason="corrupt")


def copy_for_trial(database: Database, place: str) -> str:
    """Copy an open hub into a new file next to ``place`` for a trial run; the caller removes it."""
    for left in hub_files.list_dead_drafts(place):
        hub_files.remove_database(left)
    target = f"{place}.{os.getpid()}-{new_id()[:8]}.trial"
    back_up(database, target)
    return target


def _write_copy(source: sqlite3.Connection, target: str, force: bool, progress: Progress | None) -> int:
    with _draft_file(target) as draft:
        _copy(source, draft, progress)
        _publish(draft, target, force)
    return os.path.getsize(target)


def _copy(source: sqlite3.Connection, draft: str, progress: Progress | None, journal: str = "delete") -> None:
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES, progress=_sqlite_progress(progress))
        # A backup is one file that can be read on read-only media; a hub uses WAL mode.
        copy.execute(f"PRAGMA journal_mode={journal}")
        value = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if value != "ok":
            raise StorageError(f"the copy is damaged: {value}", hint="see: llmctl db check", reason="corrupt")


@contextlib.contextmanager
def _write_turn(hub: sqlite3.Connection, path: str) -> Iterator[None]:
    hub.execute("SELECT 1 FROM sqlite_master")  # opens the log, at which writers queue
    with contextlib.closing(WriteQueue(path, f"{path}-wal")) as queue:
        queue.enter()
        yield


def _overwrite(copy: sqlite3.Connection, hub: sqlite3.Connection, progress: Progress | None) -> None:
    sizes = {connection.execute("PRAGMA page_size").fetchone()[0] for connection in (copy, hub)}
    if len(sizes) > 1:  # the page size cannot change in WAL mode
        hub.execute("PRAGMA journal_mode=DELETE")
    copy.backup(hub, pages=_PAGES, progress=_sqlite_progress(progress))
    hub.execute("PRAGMA journal_mode=WAL")
    empty_wal(hub)


def _sqlite_progress(progress: Progress | None) -> Callable[[int, int, int], None] | None:
    if progress is None:
        return None
    return lambda status, remaining, total: progress(total - remaining, total)


@contextlib.contextmanager
def _draft_file(target: str) -> Iterator[str]:
    """Yield an empty file beside ``target``; it is removed afterwards unless it was published."""
    try:
        with hub_files.draft_file(target) as draft:
            yield draft
    except OSError as error:
        raise StorageError(
            f'cannot write "{target}": {(error.strerror or str(error)).lower()}', hint="choose another path"
        ) from error


def _publish(draft: str, target: str, force: bool) -> None:
    _sync(draft)
    hub_files.move_side_files_aside(target)
    if force:
        os.replace(draft, target)
    else:
        try:
            os.link(draft, target)
        except FileExistsError:
            raise UsageError(f'"{target}" already exists', hint="choose another name") from None
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
    """Return whether SQLite can restore a copy over this file."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _move_aside(path: str) -> str | None:
    """Rename a damaged hub and its side files."""
    if not os.path.lexists(path):
        return None  # side files alone are moved when the copy is put in place
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = hub_files.free_name(f"{path}.{stamp}.damaged")
    for suffix in ("", *hub_files.SIDE_SUFFIXES):
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, target + suffix)
    return target
