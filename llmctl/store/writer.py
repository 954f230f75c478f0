"""Apply writes with sqlite-utils. The one module that imports it, and loaded only when something is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from sqlite_utils import Database
from sqlite_utils.db import Table

from llmctl.store.schema.ddl import quote
from llmctl.store.writes import Delete, Insert, Update, Write


class Writer:
    """Applies writes to tables under their physical names. Never commits."""

    def __init__(self, connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
        self._database = Database(connection, execute_plugins=False, recursive_triggers=False)
        self._names = names
        # A table object reads the schema when it is created: cache it.
        self._tables: dict[str, Table] = {}

    def apply(self, write: Write) -> None:
        table = self._table(write.table)
        match write:
            case Insert(_, row):
                table.insert(dict(row))
            case Update(_, id, changes, where):
                assignments = ", ".join(f"{quote(column)} = ?" for column in changes)
                condition = " AND ".join(f"{quote(column)} = ?" for column in ("id", *where))
                sql = f"UPDATE {quote(table.name)} SET {assignments} WHERE {condition}"
                self._database.execute(sql, [*changes.values(), id, *where.values()])
            case Delete(_, where):
                condition = " AND ".join(f"{quote(column)} = ?" for column in where)
                table.delete_where(condition, list(where.values()))

    def add_column(self, table: str, column: str, type: str) -> None:
        """Add a custom column; ``type`` is a type of SQLite."""
        self._table(table).add_column(column, type)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = self._database.table(self._names.get(name, name))
        return self._tables[name]
