"""The write-ahead log beside a hub's file."""

from __future__ import annotations

import sqlite3

#: Milliseconds to wait for those who read the log; they may be at it for hours.
_PATIENCE_MS = 2000


def empty(connection: sqlite3.Connection) -> bool:
    """Bring all of the log into the file and cut it to nothing; False where another process still reads it."""
    waited = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
    try:
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout={waited}")
    return not busy
