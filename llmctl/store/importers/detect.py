"""Detect what a SQLite file is: a hub, llm's logs, or a database of @node-llm/orm."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from llmctl.core.errors import StorageError, UsageError
from llmctl.store.adopt import detect

HUB, LLM, NODE_LLM = "hub", "llm", "node-llm"
_LLM_TABLES = ({"conversations", "responses"}, {"threads", "turns", "messages", "parts"})


@contextmanager
def open_readonly(path: str) -> Iterator[sqlite3.Connection]:
    """Open another program's database read-only."""
    uri = "file:" + "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in os.path.abspath(path))
    try:
        with closing(sqlite3.connect(f"{uri}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.DatabaseError as error:
        raise StorageError(f'cannot read the database "{path}": {error}') from error


def detect_kind(path: str) -> str:
    """Return the kind of a database; raise UsageError for an unknown one."""
    with open_readonly(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "hub_meta" in tables and connection.execute("PRAGMA user_version").fetchone()[0]:
            return HUB
        if any(needed <= tables for needed in _LLM_TABLES):
            return LLM
        connection.row_factory = None
        if detect.find_tables(connection, {}):
            return NODE_LLM
    raise UsageError(
        f'"{path}" is a database of an unknown program',
        hint="supported are hubs of llmctl, logs of llm, and databases of @node-llm/orm",
    )
