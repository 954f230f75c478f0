"""Looking after the file: is everything whole, how large is it, give unused space back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmctl.core import clock
from llmctl.core.errors import LockedError
from llmctl.store.database import Database, Row
from llmctl.store.errors import storage_errors
from llmctl.store.maintenance import prune, wal
from llmctl.store.opening import MEMORY
from llmctl.store.schema import migrations, objects
from llmctl.store.stats import check_rollups

#: Rows that point at nothing by name, where no foreign key could tell.
_ORPHANS = (
    ("messages that belong to no thread", "SELECT count(*) FROM {messages} WHERE thread_id IS NULL"),
    (
        "pieces of streams that are finished",
        "SELECT count(*) FROM {stream_chunks} c JOIN {response_streams} s ON s.id = c.stream_id"
        " WHERE s.status <> 'pending' AND s.raw_output IS NOT NULL",
    ),
)
#: What is pending though no job works on it. Placeholders of other programs have ten minutes.
_STUCK = (
    (
        "messages",
        "SELECT count(*) FROM {messages} m LEFT JOIN {jobs} j ON j.id = m.job_id WHERE m.status = 'pending'"
        " AND CASE m.origin WHEN 'orm' THEN m.created_at < strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-10 minutes')"
        " ELSE j.status IS NOT 'running' END",
    ),
    (
        "requests",
        "SELECT count(*) FROM {requests} r LEFT JOIN {jobs} j ON j.id = r.job_id"
        " WHERE r.status = 'pending' AND j.status IS NOT 'running'",
    ),
    (
        "locked threads",
        "SELECT count(*) FROM {message_threads} t LEFT JOIN {jobs} j ON j.id = t.locking_job_id"
        " WHERE t.locking_job_id IS NOT NULL AND j.status IS NOT 'running'",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at; ``problem`` is None where all is well, ``hint`` says how to mend it."""

    name: str
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Bytes of the file before and after."""

    before: int
    after: int


def check(database: Database, *, quick: bool = False) -> Iterator[Finding]:
    """Yield what was found, one by one: some of it takes long. ``quick`` leaves out what reads the whole file."""
    yield _integrity(database, quick)
    yield _references(database)
    yield _orphans(database)
    yield _attachments(database)
    yield _stuck(database)
    if not quick:
        yield _search(database)
        yield _usage(database)
    yield _migrations(database)


def vacuum(database: Database) -> Vacuumed:
    """Write the file anew without gaps, rebuild the search index (its row numbers change), empty the log.

    Raises LockedError where another process reads, so that the log could not be emptied; the rest is done.
    """
    before = size(database.path)
    with storage_errors(database.path):
        database.connection.execute("VACUUM")
    with database.transaction():
        objects.rebuild_search(database.connection)
    if not wal.empty(database.connection):
        raise LockedError(
            "the write-ahead log could not be emptied: another process reads the hub",
            hint="run it again when that has ended: llmctl db vacuum",
            reason="busy",
        )
    return Vacuumed(before, size(database.path))


def size(path: str) -> int:
    """Return the size of a hub with its log, in bytes."""
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def status(database: Database) -> Row:
    """Return facts about the hub: place, size, version, counts."""
    connection = database.connection
    counted = ("chats", "messages", "requests", "model_connections", "attachments")
    pages, page, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size", "freelist_count")
    )
    return {
        "path": database.path if database.path == MEMORY else os.path.abspath(database.path),
        "bytes": pages * page,
        "free_bytes": free * page,
        "wal_bytes": _file_size(f"{database.path}-wal"),
        "mode": _mode(database.path),
        "journal": connection.execute("PRAGMA journal_mode").fetchone()[0],
        "schema_version": migrations.version(database),
        "sqlite_version": sqlite3.sqlite_version,
        "tables": dict(database.names),
        "fields": {table: dict(columns) for table, columns in database.fields.items()},
        **{_COUNT_NAMES.get(t, t): database.value(f"SELECT count(*) FROM {{{t}}}") for t in counted},
        "running_jobs": database.value("SELECT count(*) FROM {jobs} WHERE status = 'running'"),
    }


_COUNT_NAMES = {"model_connections": "connections"}


def _integrity(database: Database, quick: bool) -> Finding:
    pragma = "quick_check" if quick else "integrity_check"
    rows = [row[0] for row in database.connection.execute(f"PRAGMA {pragma}(20)")]
    if rows == ["ok"]:
        return Finding("integrity")
    return Finding("integrity", "; ".join(rows), "restore a copy with: llmctl db restore FILE")


def _references(database: Database) -> Finding:
    rows = database.connection.execute("PRAGMA foreign_key_check").fetchall()
    if not rows:
        return Finding("references")
    tables = sorted({f"{row[0]} → {row[2]}" for row in rows})
    return Finding("references", f"{len(rows)} rows point at rows that are not there: {', '.join(tables)}")


def _orphans(database: Database) -> Finding:
    counts = [(database.value(sql), what) for what, sql in _ORPHANS]
    found = [f"{count} {what}" for count, what in counts if count]
    return Finding("orphans", ", ".join(found) or None)


def _attachments(database: Database) -> Finding:
    unused = prune.count(database, "attachments", clock.now())
    if not unused.rows:
        return Finding("attachments")
    problem = f"{unused.rows} that no message has any more, {unused.bytes:,} bytes"
    return Finding("attachments", problem, "take them away with: llmctl db prune --kind attachments --older-than 0d")


def _stuck(database: Database) -> Finding:
    counts = [(database.value(sql), what) for what, sql in _STUCK]
    found = [f"{count} {what}" for count, what in counts if count]
    problem = f"unfinished, and nobody works on it: {', '.join(found)}" if found else None
    return Finding("stuck", problem, "finish them with: llmctl job recover" if found else None)


def _search(database: Database) -> Finding:
    try:
        with _as_writer(database.connection) as connection:
            connection.execute("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if "readonly" in str(error):
            return Finding("search")
        return Finding("search", "the search index is not that of the messages", "mend it with: llmctl db vacuum")
    return Finding("search")


@contextmanager
def _as_writer(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Let FTS5 check itself: its check looks like a write to SQLite, and changes nothing."""
    was = connection.execute("PRAGMA query_only").fetchone()[0]
    connection.execute("PRAGMA query_only=0")
    try:
        yield connection
    finally:
        connection.execute(f"PRAGMA query_only={was}")


def _usage(database: Database) -> Finding:
    found = "; ".join(check_rollups.problems(database))
    hint = "a new hub counts anew: llmctl export --all | llmctl --db NEW import -" if found else None
    return Finding("usage", found or None, hint)


def _migrations(database: Database) -> Finding:
    changed = migrations.tampered(database)
    if not changed:
        return Finding("migrations")
    return Finding(
        "migrations",
        f"was changed since it was applied: {', '.join(changed)}",
        "reinstall llmctl: its schema files are not the released ones",
    )


def _file_size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _mode(path: str) -> str | None:
    return f"{os.stat(path).st_mode & 0o7777:04o}" if os.path.exists(path) else None
