"""A large hub with a year of use in it, for benchmarks, export, import and the report.

    python -m tests.benchmarks.hub PATH [--chats 100000] [--messages 1000000] [--requests 1000000] [--until T]

The same numbers give the same hub (ids too). Chats, messages and requests are exactly as many as asked for. A request
belongs to an assistant message; the rest are failures, embeddings and calls that keep no text, which belong to no chat.
HTTP attempts, streams and jobs exist for the newest requests only (``--audited``), as `db prune` leaves a hub.

Rows go in with every trigger at work, so that the roll-ups are what the program itself would have made of them;
only the search index's triggers rest meanwhile, and it is rebuilt at the end.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmctl.core import clock
from llmctl.store.opening import create
from llmctl.store.schema import objects
from tests.benchmarks.year import Year

#: Rows a transaction.
_BATCH = 50_000
_SEARCH = ("message_search_insert", "message_search_update", "message_search_delete")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--chats", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--audited", type=int, default=20_000, help="requests with HTTP attempt, stream and job")
    parser.add_argument("--until", default=clock.now()[:10], help="the year before this day (default: today)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    make(
        options.path,
        Year(options.chats, options.messages, options.requests, options.audited, options.until, options.seed),
    )
    size = Path(options.path).stat().st_size
    print(f"{options.path}: {size / 1e6:,.0f} MB in {time.perf_counter() - began:.0f} s")
    return 0


def make(path: str, year: Year) -> None:
    """Make a hub with that year in it; there must be none yet."""
    if not create(path):
        sys.exit(f'"{path}" is there already')
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-600000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    for name in _SEARCH:
        connection.execute(f"DROP TRIGGER {name}")
    _fill(connection, year.rows())
    with _transaction(connection):
        objects.recreate_code(connection)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _fill(connection: sqlite3.Connection, rows: Iterator[tuple[str, Sequence[object]]]) -> None:
    """Insert rows, each with the statement it is for, some tens of thousands at a time."""
    waiting: dict[str, list[Sequence[object]]] = {}
    for count, (statement, row) in enumerate(rows, 1):
        waiting.setdefault(statement, []).append(row)
        if count % _BATCH == 0:
            _flush(connection, waiting)
    _flush(connection, waiting)


def _flush(connection: sqlite3.Connection, waiting: dict[str, list[Sequence[object]]]) -> None:
    """Insert what waits, a table after the other; foreign keys are off, so that any order will do."""
    with _transaction(connection):
        for statement, rows in waiting.items():
            connection.executemany(statement, rows)
    waiting.clear()


class _transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


if __name__ == "__main__":
    sys.exit(main())
