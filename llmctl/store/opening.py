"""Open a hub, and create one atomically, however many processes try at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from llmctl.core import clock
from llmctl.core.environment import make_private_folder
from llmctl.core.errors import ConfigError, LlmctlError, StorageError
from llmctl.core.stored_values import dumps, new_id
from llmctl.store.database import (
    BUSY_TIMEOUT_MS,
    HUB_ID,
    Database,
    Mode,
    WriteQueue,
    empty_wal,
    fill_table_slots,
    is_disk_full,
    storage_errors,
    translate_error,
)
from llmctl.store.schema import ddl

if TYPE_CHECKING:
    from llmctl.store.compact import SqlValue

MEMORY = ":memory:"

#: Adds the first rows to a hub that is being created.
Prepare = Callable[[Database], object]

#: Smallest possible database: one page.
_MIN_DATABASE_BYTES = 512

_INSERT_ID = "INSERT INTO hub_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
#: The connection that every hub has.
_INSERT_ECHO_CONNECTION = """
INSERT INTO {model_connections} (id, name, description, provider, model_id, created_at, updated_at)
VALUES (?, 'echo', 'answers offline by repeating the prompt', 'echo', 'echo', ?, ?)
"""


def open_hub(path: str, mode: Mode = "read", *, upgrade: bool = True, prepare: Prepare | None = None) -> Database:
    """Open the hub at ``path``.

    ``read`` and ``write`` raise :class:`ConfigError` if there is none; ``create`` creates it. A file that is not a
    hub, cannot be read or is newer than this program raises :class:`StorageError` and is left alone. An older hub is
    upgraded when it is opened for writing, unless the caller does that itself (``upgrade=False``). ``prepare``
    writes the first rows of a new hub before any other process can see it.
    """
    if path == MEMORY:
        return _open_in_memory(prepare)
    is_new = False
    if not _has_content(path):
        if mode != "create":
            raise missing_hub_error(path)
        is_new = create(path, prepare=prepare)
    database = _check_version(_open_connection(path, mode), path, upgrade=upgrade and mode != "read")
    database.is_new = is_new
    return database


def open_sibling(database: Database) -> Database:
    """Open a further connection to a hub, for another thread; an in-memory hub has but one, which stays open."""
    if database.path != MEMORY:
        return open_hub(database.path, "write")
    shared = Database(database.connection, MEMORY)
    shared.close = lambda: None  # type: ignore[method-assign]
    return shared


def missing_hub_error(path: str) -> ConfigError:
    return ConfigError(f'no hub at "{path}"', hint="create one: llmctl init", reason="no_hub")


def create(path: str, names: Mapping[str, str] | None = None, prepare: Prepare | None = None) -> bool:
    """Create a hub unless there is one; return whether this call created it.

    It is built in a temporary file and linked into place: no process ever sees an incomplete hub.
    """
    path = os.path.realpath(path)
    _create_folder(os.path.dirname(path))
    with _creation_turn(path):
        return not _has_content(path) and _create_file(path, names or {}, prepare)


def _create_file(path: str, names: Mapping[str, str], prepare: Prepare | None) -> bool:
    from llmctl.store import hub_files  # only a new hub needs it

    try:
        with hub_files.draft_file(path) as draft:
            with storage_errors(path):
                build_file(draft, names, prepare)
            moved = hub_files.move_side_files_aside(path)
            if _publish(draft, path):
                return True
            for old, new in moved:  # another process, which could not be waited for, has put a hub in place
                os.rename(new, old)
            return False
    except OSError as error:
        raise StorageError(
            f'cannot create a hub at "{path}": {error.strerror}', hint="choose another path with --db"
        ) from error


@contextlib.contextmanager
def _creation_turn(path: str) -> Iterator[None]:
    """Let one of many first runs build the hub while the others wait; without locks each builds its own draft."""
    queue = WriteQueue(path, os.path.dirname(path))
    try:
        queue.enter()
        yield
    finally:
        queue.close()


def build_file(path: str, names: Mapping[str, str], prepare: Prepare | None = None) -> None:
    """Write the schema, and the rows of ``prepare``, into an empty file: a database whose log is empty."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        create_schema(connection, names)
        connection.execute("COMMIT")
        if prepare:
            prepare(Database(connection, path))
        # Closing does this, too, but hides a full disk: the rows would stay in the log of the draft.
        if not empty_wal(connection):
            raise sqlite3.OperationalError("database is locked")
    finally:
        connection.close()


def create_schema(connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Create all tables, views, triggers and initial rows. The caller commits."""
    from llmctl.store.schema import objects  # only a new hub needs it

    statements = ddl.load_statements(names)
    for statement in statements:
        connection.execute(statement)
    objects.record_code_names(connection, statements)
    now = clock.now()
    connection.execute(_INSERT_ID, (HUB_ID, dumps(new_id())))
    connection.execute("INSERT INTO hub_meta (key, value) VALUES ('tables', ?)", (dumps(dict(names)),))
    connection.execute("INSERT INTO hub_meta (key, value) VALUES ('fields', '{}')")
    connection.execute(
        fill_table_slots("INSERT INTO {user_settings} (id, created_at, updated_at) VALUES (?, ?, ?)", names),
        (new_id(), now, now),
    )
    connection.execute(fill_table_slots(_INSERT_ECHO_CONNECTION, names), (new_id(), now, now))
    connection.execute(f"PRAGMA application_id={ddl.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={ddl.VERSION}")


def _open_in_memory(prepare: Prepare | None) -> Database:
    connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA temp_store=MEMORY")
    create_schema(connection, {})
    _apply_pragmas(connection)
    database = Database(connection, MEMORY)
    if prepare:
        prepare(database)
    return database


def _has_content(path: str) -> bool:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise _cannot_open_error(path, f'it is a link to "{os.readlink(path)}", which does not exist') from None
        return False
    except OSError as error:
        raise _cannot_open_error(path, error.strerror or "unknown reason") from error
    if not stat.S_ISREG(info.st_mode):
        raise _cannot_open_error(path, "it is a folder" if stat.S_ISDIR(info.st_mode) else "it is not a regular file")
    return info.st_size > 0


def _cannot_open_error(path: str, why: str) -> StorageError:
    return StorageError(
        f'cannot open the hub "{path}": {why}', hint="choose a file with --db or LLMCTL_DB", reason="cannot_open"
    )


def _publish(draft: str, path: str) -> bool:
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
    """Replace an empty file (of mktemp or touch) by the hub, keeping its mode and group."""

    with open(path, "rb") as empty:
        fcntl.flock(empty, fcntl.LOCK_EX)  # one of many processes replaces it; the others then find a hub
        info = os.fstat(empty.fileno())
        if info.st_size or os.stat(path).st_ino != info.st_ino:
            return False
        with contextlib.suppress(OSError):
            os.chown(draft, -1, info.st_gid)
        os.chmod(draft, stat.S_IMODE(info.st_mode))
        os.replace(draft, path)
    return True


def _create_folder(folder: str) -> None:
    try:
        make_private_folder(folder)
    except OSError as error:
        raise StorageError(
            f'cannot create the folder "{error.filename}": {error.strerror}', hint="choose another path with --db"
        ) from error


def _open_connection(path: str, mode: Mode) -> sqlite3.Connection:
    with storage_errors(path):
        connection = _connect(path)
        try:
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            connection.close()
            if mode != "read" or not _is_readable_without_wal(path, error):
                raise
            connection = _connect(path, "&immutable=1")
        _apply_pragmas(connection)
        if mode == "read":
            connection.execute("PRAGMA query_only=1")
        return connection


def _is_readable_without_wal(path: str, error: sqlite3.OperationalError) -> bool:
    """Return whether a hub without its side files can be read as immutable: no process is writing it.

    This is for read-only or full file systems. A non-empty WAL holds the newest rows: ignoring it would return
    stale data.
    """
    is_refused = error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
    if not is_refused and not ("disk I/O error" in str(error) and is_disk_full(path)):
        return False
    log = f"{path}-wal"
    return not os.path.exists(log) or not os.path.getsize(log)


def _connect(path: str, options: str = "") -> sqlite3.Connection:
    uri = "file:" + "".join(_escape(c) for c in os.path.abspath(path)) + "?mode=rw" + options
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False)


def _escape(character: str) -> str:
    return f"%{ord(character):02x}" if character in "%?#" else character


def _apply_pragmas(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.create_function("gunzip", 1, _gunzip, deterministic=True)
    connection.create_function("whole_body", 2, _whole_body, deterministic=True)


def _gunzip(value: SqlValue) -> SqlValue:
    """Return compressed text as text, any other value unchanged: the function ``gunzip()`` of SQL."""
    from llmctl.store import compact  # only where something is compressed

    return compact.gunzip(value)


def _whole_body(rest: str | None, shared: str | None) -> str | None:
    """Return a body with the parts of it that are stored once: the function ``whole_body()`` of SQL."""
    from llmctl.store import compact

    return compact.whole_body(rest, shared)


def _check_version(connection: sqlite3.Connection, path: str, *, upgrade: bool) -> Database:
    with storage_errors(path):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hub_meta'").fetchone()
    if not known:
        connection.close()
        if os.path.getsize(path) < _MIN_DATABASE_BYTES:  # SQLite accepts a few bytes as a database without tables
            raise translate_error(sqlite3.DatabaseError("file is not a database"), path)
        raise StorageError(
            f'"{path}" is a database, but not a hub',
            hint="add llmctl's tables to it: llmctl init --adopt",
            reason="not_a_hub",
        )
    if version > ddl.VERSION:
        connection.close()
        raise StorageError(
            f'the hub "{path}" was written by a newer llmctl (schema {version}, this program supports {ddl.VERSION})',
            hint="upgrade llmctl",
            reason="newer_hub",
        )
    database = Database(connection, path)
    if version < ddl.VERSION and upgrade:
        database.file_before = os.stat(path)
        from llmctl.store.schema import migrations  # a hub is upgraded once

        migrations.upgrade_at_first_write(database)
    return database


def assign_id(database: Database, before_commit: Callable[[], None]) -> None:
    """Give a hub an id if it has none; ``before_commit`` is called before any other process can see it."""
    with database.transaction(durable=True):
        if database.meta(HUB_ID) is None:
            database.execute(_INSERT_ID, (HUB_ID, dumps(new_id())))
            before_commit()


def lacks_id(path: str) -> bool:
    """Return whether a file is a hub without an id, made before hubs had one."""
    try:
        with contextlib.closing(open_hub(path)) as database:
            return database.id is None
    except LlmctlError:
        return False


def spool_paths(hub_path: str, fallback_folder: str | None) -> list[str]:
    """Return the paths of a hub's spool: next to it, and a fallback if the hub's disk is full or read-only."""
    path = os.path.realpath(hub_path)  # resolve links: one spool per hub
    paths = [f"{path}.spool"]
    if fallback_folder:
        paths.append(os.path.join(fallback_folder, path.replace("/", "%") + ".spool"))
    return paths


def has_spool(hub_path: str, fallback_folder: str | None) -> bool:
    """Return whether an earlier run left writes to replay: see :mod:`llmctl.store.write_spool`."""
    return any(map(os.path.exists, spool_paths(hub_path, fallback_folder)))
