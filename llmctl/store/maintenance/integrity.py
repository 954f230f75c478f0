"""Check a hub's integrity, report its size and status, and compact it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import isclose

from llmctl.core import clock
from llmctl.core.errors import LockedError
from llmctl.core.humanize import format_size, pluralize
from llmctl.store import compact
from llmctl.store.database import Database, Row, empty_wal, storage_errors
from llmctl.store.maintenance import prune
from llmctl.store.opening import MEMORY
from llmctl.store.schema import ddl, migrations, objects
from llmctl.store.schema.ddl import ROLLUP_TABLES
from llmctl.store.stats import labels

#: Dangling rows that foreign keys do not detect.
_ORPHANS = (
    ("messages without a thread", "SELECT count(*) FROM {messages} WHERE thread_id IS NULL"),
    (
        "chunks of finished streams",
        "SELECT count(*) FROM {stream_chunks} c JOIN {response_streams} s ON s.id = c.stream_id"
        " WHERE s.status <> 'pending' AND s.raw_output IS NOT NULL",
    ),
)
_COMPACTED_ORPHANS = (
    "chunks of compressed streams",
    "SELECT count(*) FROM {stream_chunks} c JOIN {response_streams} s ON s.id = c.stream_id"
    " WHERE s.raw_output_gz IS NOT NULL",
)
#: Pending rows that no job works on. Placeholders of other programs get ten minutes.
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
#: How many damaged places a finding names.
_MAX_PLACES = 5
_COUNT_NAMES = {"model_connections": "connections"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``problem`` is None if it passed, ``hint`` says how to fix it."""

    name: str
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """File size in bytes before and after."""

    before: int
    after: int


def run_checks(database: Database, *, quick: bool = False) -> Iterator[Finding]:
    """Yield findings one by one, since some checks are slow. ``quick`` skips checks that read the whole file."""
    yield _check_integrity(database, quick)
    yield _check_references(database)
    yield _check_orphans(database)
    yield _check_attachments(database)
    yield _check_stuck(database)
    if not quick:
        yield _check_text(database)
        yield _check_search(database)
        yield _check_usage(database)
    yield _check_migrations(database)


def vacuum(database: Database) -> VacuumResult:
    """Compact the file, rebuild the search index (rowids change), and empty the WAL.

    Raises LockedError if another process reads, so that the WAL could not be emptied; the rest is done.
    """
    before = hub_size_bytes(database.path)
    with storage_errors(database.path), database.write_turn():
        database.connection.execute("VACUUM")
    with database.transaction():
        objects.rebuild_search(database.connection)
    if not empty_wal(database.connection):
        raise LockedError(
            "cannot empty the write-ahead log: another process reads the hub",
            hint="when it has finished, run: llmctl db vacuum",
            reason="busy",
        )
    return VacuumResult(before, hub_size_bytes(database.path))


def hub_size_bytes(path: str) -> int:
    """Return the size of a hub with its WAL in bytes."""
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def hub_status(database: Database) -> Row:
    """Return path, size, versions and row counts of a hub."""
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
        "schema_version": migrations.schema_version(database),
        "sqlite_version": sqlite3.sqlite_version,
        "tables": dict(database.names),
        "fields": {table: dict(columns) for table, columns in database.fields.items()},
        **{_COUNT_NAMES.get(t, t): database.value(f"SELECT count(*) FROM {{{t}}}") for t in counted},
        "running_jobs": database.value("SELECT count(*) FROM {jobs} WHERE status = 'running'"),
    }


def _check_integrity(database: Database, quick: bool) -> Finding:
    pragma = "quick_check" if quick else "integrity_check"
    rows = [row[0] for row in database.connection.execute(f"PRAGMA {pragma}(20)")]
    if rows == ["ok"]:
        return Finding("integrity")
    return Finding("integrity", "; ".join(rows), "restore a copy: llmctl db restore FILE")


def _check_references(database: Database) -> Finding:
    rows = database.connection.execute("PRAGMA foreign_key_check").fetchall()
    if not rows:
        return Finding("references")
    tables = sorted({f"{row[0]} → {row[2]}" for row in rows})
    return Finding("references", f"{len(rows)} rows have dangling foreign keys: {', '.join(tables)}")


def _check_orphans(database: Database) -> Finding:
    orphans = (*_ORPHANS, _COMPACTED_ORPHANS) if database.version >= compact.SINCE_SCHEMA else _ORPHANS
    counts = [(database.value(sql), what) for what, sql in orphans]
    result = [f"{count} {what}" for count, what in counts if count]
    return Finding("orphans", ", ".join(result) or None)


def _check_attachments(database: Database) -> Finding:
    unused = prune.count_old(database, "attachments", clock.now())
    if not unused.rows:
        return Finding("attachments")
    problem = f"{pluralize(unused.rows, 'unused attachment')}, {format_size(unused.bytes)}"
    return Finding("attachments", problem, "delete them: llmctl db prune --kind attachments --older-than 0d")


def _check_stuck(database: Database) -> Finding:
    counts = [(database.value(sql), what) for what, sql in _STUCK]
    result = [f"{count} {what}" for count, what in counts if count]
    problem = f"unfinished, with no job working on them: {', '.join(result)}" if result else None
    return Finding("stuck", problem, "recover them: llmctl job recover" if result else None)


def _check_text(database: Database) -> Finding:
    found = list(islice(_find_damaged_text(database), _MAX_PLACES + 1))
    places = ", ".join(found[:_MAX_PLACES]) + (" and more" if len(found) > _MAX_PLACES else "")
    problem = f"text that is not valid UTF-8: {places}" if found else None
    return Finding("text", problem, "restore a copy: llmctl db restore FILE" if found else None)


def _find_damaged_text(database: Database) -> Iterator[str]:
    """Yield the places of text that cannot be decoded, which SQLite's own checks do not look at."""
    connection = database.connection
    factory, connection.text_factory = connection.text_factory, bytes
    try:
        for table in ddl.TABLES:
            columns = connection.execute(database.sql(f"PRAGMA table_info({{{table}}})")).fetchall()
            names = [column[1].decode() for column in columns if column[2] != b"BLOB"]
            if not names:  # an older hub has no such table
                continue
            rows = connection.execute(database.sql(f"SELECT {', '.join(names)} FROM {{{table}}}"))
            for number, row in enumerate(rows, 1):
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, bytes) and not _is_utf8(value):
                        yield f'row {number} of {database.names.get(table, table)}, column "{name}"'
    finally:
        connection.text_factory = factory


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_search(database: Database) -> Finding:
    try:
        with _as_writer(database.connection) as connection:
            connection.execute("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if "readonly" in str(error):
            return Finding("search")
        return Finding("search", "the search index does not match the messages", "rebuild it: llmctl db vacuum")
    return Finding("search")


@contextmanager
def _as_writer(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Allow FTS5's integrity check, which is a write to SQLite but changes nothing."""
    was = connection.execute("PRAGMA query_only").fetchone()[0]
    connection.execute("PRAGMA query_only=0")
    try:
        yield connection
    finally:
        connection.execute(f"PRAGMA query_only={was}")


def _check_usage(database: Database) -> Finding:
    result = "; ".join(find_rollup_problems(database))
    hint = "rebuild them: llmctl db check --fix" if result else None
    return Finding("usage", result or None, hint)


def _check_migrations(database: Database) -> Finding:
    changed = migrations.changed_migrations(database)
    if not changed:
        return Finding("migrations")
    return Finding(
        "migrations",
        f"changed since they were applied: {', '.join(changed)}",
        "reinstall llmctl: its schema files were modified",
    )


def _file_size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _mode(path: str) -> str | None:
    return f"{os.stat(path).st_mode & 0o7777:04o}" if os.path.exists(path) else None


# --- roll-ups


_USAGE_KEYS = ("month", "provider", "model")
_USAGE_SUMS = (
    *("requests", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens"),
    *("cost", "priced_requests", "unpriced_requests", "duration", "timed_requests", "retries"),
)
#: Totals that the rows alone determine: independent of prices, and never reduced.
_SUMS_OF_ROWS = ("requests", "input_tokens", "output_tokens", "thinking_tokens", "duration")
_USAGE_FROM_ROLLUP = """
SELECT substr({unit}, 1, 7) AS month, provider, model, {sums} FROM {{{table}}} WHERE {where} GROUP BY 1, 2, 3
"""
_USAGE_FROM_ROWS = """
SELECT substr(created_at, 1, 7) AS month, lower(provider) AS provider, coalesce(response_model, model) AS model,
  count(*) AS requests, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(thinking_tokens) AS thinking_tokens, sum(duration) AS duration
FROM {requests} WHERE status <> 'pending' GROUP BY 1, 2, 3
"""
_UNCOUNTED_ACTIVITY = """
SELECT coalesce(sum(max(0, s.number - coalesce(CASE s.tool WHEN '' THEN a.messages ELSE a.tool_calls END, 0))), 0)
FROM (
  SELECT substr(created_at, 1, 10) AS day, '' AS tool, count(*) AS number
  FROM {messages} WHERE chat_id IS NOT NULL GROUP BY 1
  UNION ALL SELECT substr(created_at, 1, 10), name, count(*) FROM {tool_invocations} WHERE name <> '' GROUP BY 1, 2
) s LEFT JOIN {activity_daily} a ON a.day = s.day || 'T00:00:00.000+00:00' AND a.tool = s.tool
"""

_Sums = dict[tuple[str, ...], Row]


def find_rollup_problems(database: Database) -> Iterator[str]:
    """Yield the problems of the roll-ups; a hub of schema 1 has only the hourly one."""
    units = [
        unit for unit, table in ROLLUP_TABLES.items() if database.value(f"PRAGMA table_info({{{table}}})") is not None
    ]
    rolled_up = {unit: _rollup_sums(database, unit, units) for unit in units}
    rows = _sums_by_key(database, _USAGE_FROM_ROWS)
    for unit, sums in rolled_up.items():
        if missing := _count_missing(rows, sums):
            yield f"{missing} requests are missing from the totals by {unit}"
        elif any(_is_less(sums.get(key, {}), row, _SUMS_OF_ROWS) for key, row in rows.items()):
            yield f"the totals by {unit} are lower than those of the requests"
    for unit in units[1:]:
        if not _sums_agree(rolled_up[units[0]], rolled_up[unit]):
            yield f"the totals by {unit} differ from those by {units[0]}"
    if database.version >= compact.SINCE_SCHEMA and (problem := labels.find_problem(database)):
        yield problem
    if len(units) > 1 and (missing := database.value(_UNCOUNTED_ACTIVITY)):
        yield f"{missing} messages or tool calls are missing from the totals by day"


def _rollup_sums(database: Database, unit: str, units: list[str]) -> _Sums:
    names = _USAGE_SUMS if len(units) > 1 else _SUMS_OF_ROWS
    sums = ", ".join(f"sum({name}) AS {name}" for name in names)
    where = "true" if unit == "day" else "status <> 'pending'"
    return _sums_by_key(
        database, _USAGE_FROM_ROLLUP.format(unit=unit, sums=sums, table=ROLLUP_TABLES[unit], where=where)
    )


def _sums_by_key(database: Database, sql: str) -> _Sums:
    return {tuple(row[key] for key in _USAGE_KEYS): row for row in database.rows(sql)}


def _count_missing(rows: _Sums, sums: _Sums) -> int:
    return sum(max(0, row["requests"] - sums.get(key, {"requests": 0})["requests"]) for key, row in rows.items())


def _is_less(sums: Row, row: Row, names: tuple[str, ...]) -> bool:
    return any((sums.get(name) or 0) < (row[name] or 0) for name in names)


def _sums_agree(one: _Sums, other: _Sums) -> bool:
    keys = {key for sums in (one, other) for key, row in sums.items() if row["requests"]}
    return all(key in one and key in other and _is_same(one[key], other[key]) for key in keys)


def _is_same(one: Row, other: Row) -> bool:
    return all(isclose(one[name] or 0, other[name] or 0, rel_tol=1e-6, abs_tol=1e-6) for name in _USAGE_SUMS)
