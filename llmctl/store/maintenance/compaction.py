"""Compact what earlier versions stored: see :mod:`llmctl.store.compact`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmctl.store.compact import COMPACT_COLUMNS, MAX_PLAIN_CHARS, compress, split_body
from llmctl.store.database import Database

#: A group of rows that one transaction rewrites ends after so many rows, or characters of text.
_GROUP_ROWS = 200
_GROUP_CHARS = 4_000_000
_FIND_LONG = """
SELECT rowid AS place, {column} AS text FROM {{{table}}}
WHERE rowid > :after AND {compact} IS NULL AND length({column}) > :limit ORDER BY rowid
"""
#: The text is compared: another process may have scrubbed or deleted it.
_REWRITE = "UPDATE {{{table}}} SET {column} = :rest, {compact} = :value WHERE rowid = :place AND {column} = :text"


def compact_rows(database: Database, progress: Callable[[int, int], None]) -> None:
    """Compact the rows that were written before there was a way to; the next run continues where one was killed.

    Compressing happens between the transactions, so that other writers wait for one group at most. ``progress``
    receives how far it is through the rows, and how far it goes.
    """
    for table in COMPACT_COLUMNS:
        last = database.value(f"SELECT coalesce(max(rowid), 0) FROM {{{table}}}")
        place = 0
        while group := _read_group(database, table, place):
            place = group[-1]["place"]
            changes = [change for row in group if (change := _compact_text(table, row))]
            with database.transaction():
                for change in changes:
                    _rewrite(database, table, change)
            progress(place, last)


def _read_group(database: Database, table: str, after: int) -> list[dict[str, Any]]:
    column, compact = COMPACT_COLUMNS[table]
    sql = _FIND_LONG.format(table=table, column=column, compact=compact)
    group: list[dict[str, Any]] = []
    size = 0
    for row in database.rows(sql, {"after": after, "limit": MAX_PLAIN_CHARS}):
        group.append(row)
        size += len(row["text"])
        if len(group) == _GROUP_ROWS or size > _GROUP_CHARS:
            break
    return group


def _compact_text(table: str, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row with what replaces its text; None for a body without parts that repeat."""
    if table == "response_streams":
        return {**row, "rest": None, "value": compress(row["text"])}
    rest, shared = split_body(row["text"])
    return {**row, "rest": rest, "value": shared} if shared else None


def _rewrite(database: Database, table: str, change: dict[str, Any]) -> None:
    column, compact = COMPACT_COLUMNS[table]
    if table == "network_calls":
        if database.value("SELECT body IS NOT :text FROM {network_calls} WHERE rowid = :place", change) != 0:
            return
        change = {**change, "value": database.add_shared_body(change["value"])}
    database.execute(_REWRITE.format(table=table, column=column, compact=compact), change)
