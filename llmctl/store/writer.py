"""Change tables with sqlite-utils. The one module that imports it, and loaded only when something is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import Table, quote_identifier


class TableWriter:
    """Changes tables, given by their physical names. Never commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._database = Database(connection, execute_plugins=False, recursive_triggers=False)
        # A table object reads the schema when it is created: cache it.
        self._tables: dict[str, Table] = {}
        #: Statements by table and columns, once they are kept.
        self._insertions: dict[tuple[str, ...], str] | None = None

    def keep_statements(self) -> None:
        """Make one statement for all rows of a shape: sqlite-utils makes one per row, in the time of four insertions.

        For bulk work, which inserts thousands of rows a second.
        """
        self._insertions = {} if self._insertions is None else self._insertions

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        if self._insertions is None:
            self._table(table).insert(dict(row))
            return
        shape = (table, *row)
        sql = self._insertions.get(shape)
        if sql is None:
            names, marks = ", ".join(map(quote_identifier, row)), ", ".join("?" * len(row))
            sql = self._insertions[shape] = f"INSERT INTO {quote_identifier(table)} ({names}) VALUES ({marks})"
        self._connection.execute(sql, tuple(row.values()))

    def delete(self, table: str, condition: str, values: Sequence[Any]) -> None:
        self._table(table).delete_where(condition, values)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = self._database.table(name)
        return self._tables[name]
