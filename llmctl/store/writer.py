"""The one file with sqlite-utils: rows go into the hub here, within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from sqlite_utils import Database
from sqlite_utils.db import Table

from llmctl.store.schema.ddl import quoted
from llmctl.store.writes import Delete, Insert, Update, Write


class Writer:
    """Applies writes to tables under their physical names. Never commits."""

    def __init__(self, connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
        self._database = Database(connection, execute_plugins=False, recursive_triggers=False)
        self._names = names
        # A table object reads the schema when it is made: keep it.
        self._tables: dict[str, Table] = {}

    def apply(self, write: Write) -> None:
        table = self._table(write.table)
        match write:
            case Insert(_, row):
                table.insert(dict(row))
            case Update(_, id, changes, where):
                assignments = ", ".join(f"{quoted(column)} = ?" for column in changes)
                condition = " AND ".join(f"{quoted(column)} = ?" for column in ("id", *where))
                sql = f"UPDATE {quoted(table.name)} SET {assignments} WHERE {condition}"
                self._database.execute(sql, [*changes.values(), id, *where.values()])
            case Delete(_, where):
                condition = " AND ".join(f"{quoted(column)} = ?" for column in where)
                table.delete_where(condition, list(where.values()))

    def add_column(self, table: str, column: str, type: str) -> None:
        """Add a column of the user's own; ``type`` is a type of SQLite."""
        self._table(table).add_column(column, type)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = self._database.table(self._names.get(name, name))
        return self._tables[name]
