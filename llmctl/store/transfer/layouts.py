"""The columns of a hub's tables in an order that does not depend on how old the hub is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmctl.core.transfer_records import Kind, Layout
from llmctl.store.database import Database
from llmctl.store.schema import ddl

_COLUMN = re.compile(r"^  ([a-z_]+) [A-Z]", re.MULTILINE)
_TABLE = re.compile(r'^CREATE TABLE "([a-z_]+)"', re.MULTILINE)

#: Columns of type TEXT that hold JSON as a rule.
_DOCUMENTS = (("messages", "content_raw"),)


class Layouts:
    """The tables of one hub: ours in the order of ``schema/``, the user's own columns after them by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ours = our_columns()
        self._known: dict[str, Layout | None] = {}
        self.fields: dict[str, dict[str, str]] = {}

    def find(self, table: str) -> Layout | None:
        """Return the layout of a table, or None where this hub (an older one) has no such table."""
        if table not in self._known:
            self._known[table] = self._read(table)
        return self._known[table]

    def all_fields(self) -> Mapping[str, Mapping[str, str]]:
        """Return table -> columns that are not ours -> declared type, in a fixed order."""
        for table in set(ddl.TABLES) - set(ddl.KEPT):
            self.find(table)
        return {table: self.fields[table] for table in sorted(self.fields)}

    def _read(self, table: str) -> Layout | None:
        declared = {
            row["name"]: str(row["type"]).upper() for row in self._database.rows(f"PRAGMA table_info({{{table}}})")
        }
        if not declared:
            return None
        own = sorted(name for name in declared if name not in self._ours[table])
        if own:
            self.fields[table] = {name: declared[name] for name in own}
        columns = (*(name for name in self._ours[table] if name in declared), *own)
        return Layout(table, columns, tuple(_kind(table, name, declared[name]) for name in columns))


def our_columns() -> dict[str, tuple[str, ...]]:
    """Return the columns that ``schema/`` gives each table, in its order."""
    found = {}
    for statement in ddl.statements():
        table = _TABLE.search(statement)
        if table:
            found[table[1]] = tuple(_COLUMN.findall(statement))
    return found


def _kind(table: str, name: str, declared: str) -> Kind:
    if declared.startswith("JSON") or (table, name) in _DOCUMENTS:
        return "json"
    return "boolean" if declared.startswith("BOOL") else "value"
