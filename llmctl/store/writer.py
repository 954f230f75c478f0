"""Change tables with sqlite-utils. The one module that imports it, and loaded only when something is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import Table


class TableWriter:
    """Changes tables, given by their physical names. Never commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._database = Database(connection, execute_plugins=False, recursive_triggers=False)
        # A table object reads the schema when it is created: cache it.
        self._tables: dict[str, Table] = {}

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        self._table(table).insert(dict(row))

    def delete(self, table: str, condition: str, values: Sequence[Any]) -> None:
        self._table(table).delete_where(condition, values)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = self._database.table(name)
        return self._tables[name]
