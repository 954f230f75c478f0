"""Opening a hub, and making one: never half, however many processes try at once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Mapping

from llmctl.core import clock
from llmctl.core.errors import ConfigError, StorageError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import BUSY_TIMEOUT_MS, Database, Mode
from llmctl.store.errors import storage_errors, translated
from llmctl.store.schema import ddl

MEMORY = ":memory:"

#: Adds the first rows to a hub that is being made.
Prepare = Callable[[Database], object]

#: Bytes of the smallest database: one page.
_SMALLEST = 512

#: The connection that stands in every hub.
_ECHO = """
INSERT INTO {model_connections} (id, name, description, provider, model_id, created_at, updated_at)
VALUES (?, 'echo', 'answers offline, with what it was told', 'echo', 'echo', ?, ?)
"""


def open_hub(path: str, mode: Mode = "read", *, upgrade: bool = True, prepare: Prepare | None = None) -> Database:
    """Open the hub at ``path``.

    ``read`` and ``write`` raise :class:`ConfigError` where there is none; ``create`` makes it. A file that is no
    hub, cannot be read or is newer than this program is a :class:`StorageError`, and stays as it is. An older hub is
    brought up to date when it is opened for writing, unless the caller sees to that (``upgrade=False``). ``prepare``
    writes the first rows of a hub that is made, before anybody sees it.
    """
    if path == MEMORY:
        return _in_memory(prepare)
    if not _has_content(path):
        if mode != "create":
            raise missing(path)
        create(path, prepare=prepare)
    return _checked(_connected(path, mode), path, upgrade=upgrade and mode != "read")


def missing(path: str) -> ConfigError:
    return ConfigError(f'there is no hub at "{path}"', hint="make one with: llmctl init", reason="no_hub")


def create(path: str, names: Mapping[str, str] | None = None, prepare: Prepare | None = None) -> bool:
    """Make a hub unless there is one; return whether this call made it.

    It is built beside its place and linked into it whole: no process ever sees half a hub.
    """
    path = os.path.realpath(path)
    _make_folder(os.path.dirname(path))
    draft = f"{path}.{os.getpid()}-{new_id()[:8]}.new"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with storage_errors(path):
            build(draft, names or {}, prepare)
        return _put_in_place(draft, path)
    except OSError as error:
        raise StorageError(
            f'cannot make a hub at "{path}": {error.strerror}', hint="choose another place with --db"
        ) from error
    finally:
        for leftover in (draft, f"{draft}-wal", f"{draft}-shm", f"{draft}-journal"):
            with contextlib.suppress(OSError):
                os.unlink(leftover)


def build(path: str, names: Mapping[str, str], prepare: Prepare | None = None) -> None:
    """Write the whole schema, and what ``prepare`` adds, into an empty database file, in write-ahead mode."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        fill(connection, names)
        connection.execute("COMMIT")
        if prepare:
            prepare(Database(connection, path))
    finally:
        connection.close()


def fill(connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Make all tables, views and triggers, and the first rows. The caller commits."""
    from llmctl.store.schema import objects  # only a new hub needs it

    statements = ddl.statements(names)
    for statement in statements:
        connection.execute(statement)
    objects.remember_code(connection, statements)
    now = clock.now()
    connection.execute("INSERT INTO hub_meta (key, value) VALUES ('tables', ?)", (dumps(dict(names)),))
    connection.execute("INSERT INTO hub_meta (key, value) VALUES ('fields', '{}')")
    connection.execute(
        ddl.filled("INSERT INTO {user_settings} (id, created_at, updated_at) VALUES (?, ?, ?)", names),
        (new_id(), now, now),
    )
    connection.execute(ddl.filled(_ECHO, names), (new_id(), now, now))
    connection.execute(f"PRAGMA application_id={ddl.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={ddl.VERSION}")


def _in_memory(prepare: Prepare | None) -> Database:
    connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA temp_store=MEMORY")
    fill(connection, {})
    _set_up(connection)
    database = Database(connection, MEMORY)
    if prepare:
        prepare(database)
    return database


def _has_content(path: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise _unopenable(path, f'it is a link to "{os.readlink(path)}", which is not there') from None
        return False
    except OSError as error:
        raise _unopenable(path, error.strerror or "unknown reason") from error
    if not stat.S_ISREG(found.st_mode):
        raise _unopenable(path, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is no regular file")
    return found.st_size > 0


def _unopenable(path: str, why: str) -> StorageError:
    return StorageError(
        f'cannot open the hub "{path}": {why}', hint="choose a file with --db or LLMCTL_DB", reason="cannot_open"
    )


def _put_in_place(draft: str, path: str) -> bool:
    if os.path.exists(path):
        return _replace_empty(draft, path)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.exists(path):
            return False
        os.rename(draft, path)
    return True


def _replace_empty(draft: str, path: str) -> bool:
    """Put the hub where mktemp or touch made an empty file, with the mode and the group of that."""
    import fcntl  # only a new hub needs it

    with open(path, "rb") as empty:
        fcntl.flock(empty, fcntl.LOCK_EX)  # of many processes one replaces it; to the others it is a hub then
        found = os.fstat(empty.fileno())
        if found.st_size or os.stat(path).st_ino != found.st_ino:
            return False
        with contextlib.suppress(OSError):
            os.chown(draft, -1, found.st_gid)
        os.chmod(draft, stat.S_IMODE(found.st_mode))
        os.replace(draft, path)
    return True


def _make_folder(folder: str) -> None:
    """Make missing folders, for this user only; existing ones stay as they are."""
    if not os.path.isdir(folder):
        _make_folder(os.path.dirname(folder))
        with contextlib.suppress(FileExistsError):
            try:
                os.mkdir(folder, 0o700)
            except OSError as error:
                raise StorageError(
                    f'cannot make the folder "{folder}": {error.strerror}',
                    hint="choose another place with --db",
                ) from error


def _connected(path: str, mode: Mode) -> sqlite3.Connection:
    with storage_errors(path):
        connection = _connect(path)
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            connection.close()
            if mode != "read" or not _is_still(path, error):
                raise
            connection = _connect(path, "&immutable=1")
        _set_up(connection)
        if mode == "read":
            connection.execute("PRAGMA query_only=1")
        return connection


def _is_still(path: str, error: sqlite3.OperationalError) -> bool:
    """Say whether a hub that cannot have its side files can be read without them: nobody writes it at present.

    Its folder or file system is read-only, or full. A log that is there holds the newest rows: leaving it out would
    lie.
    """
    if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR_SHMSIZE")):
        return False
    log = f"{path}-wal"
    return not os.path.exists(log) or not os.path.getsize(log)


def _connect(path: str, options: str = "") -> sqlite3.Connection:
    uri = "file:" + "".join(_escaped(c) for c in os.path.abspath(path)) + "?mode=rw" + options
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False)


def _escaped(character: str) -> str:
    return f"%{ord(character):02x}" if character in "%?#" else character


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")


def _checked(connection: sqlite3.Connection, path: str, *, upgrade: bool) -> Database:
    with storage_errors(path):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hub_meta'").fetchone()
    if not known:
        connection.close()
        if os.path.getsize(path) < _SMALLEST:  # SQLite takes a few bytes for a database without tables
            raise translated(sqlite3.DatabaseError("file is not a database"), path)
        raise StorageError(
            f'"{path}" is a database, but not a hub',
            hint="make llmctl's tables in it with: llmctl init --adopt",
            reason="not_a_hub",
        )
    if version > ddl.VERSION:
        connection.close()
        raise StorageError(
            f'the hub "{path}" was written by a newer llmctl (schema {version}, this program knows {ddl.VERSION})',
            hint="upgrade llmctl",
            reason="newer_hub",
        )
    database = Database(connection, path)
    if version < ddl.VERSION and upgrade:
        from llmctl.store.schema import migrations  # a hub is upgraded once

        migrations.upgrade_at_first_write(database)
    return database
