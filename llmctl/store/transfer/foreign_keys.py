"""What rows point at: ids that are another row here, and rows that are not there (yet)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.store.database import Database
from llmctl.store.schema import ddl

#: Beside foreign keys: the id of a connection, an agent or a tool invocation, by no key that SQLite knows.
_SOURCE = "source_id"
#: References that are remembered until their row comes. A file in order needs a few; any file has an end.
_MOST = 100_000


class Key(NamedTuple):
    """A foreign key: the column, the table it points into, whether a row without it is worth nothing."""

    column: str
    table: str
    needed: bool


class Waiting(NamedTuple):
    """A reference that was left out because its row was not there."""

    table: str
    id: str
    key: Key
    target: str


class Links:
    """References of rows on their way into one hub."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, list[Key]] = {}
        self._same: dict[str, str] = {}
        self._waiting: list[Waiting] = []
        self._lost = 0

    def same(self, theirs: str, ours: str) -> None:
        """Note that a row of theirs is one of ours under another id."""
        self._same[theirs] = ours

    def translated(self, table: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row with ids that are others here exchanged."""
        if not self._same:
            return row
        found = dict(row)
        for column in (*(key.column for key in self._of(table)), _SOURCE):
            if found.get(column) in self._same:
                found[column] = self._same[found[column]]
        refs = found.get("refs")
        if isinstance(refs, str) and refs != "{}":
            for theirs, ours in self._same.items():
                refs = refs.replace(theirs, ours)
            found["refs"] = refs
        return found

    def cut(self, table: str, row: dict[str, Any]) -> str | None:
        """Leave out references to rows that are not there; say so where the row is worth nothing without one."""
        for key in self._of(table):
            target = row.get(key.column)
            if target is None or self._is_there(key.table, target):
                continue
            if key.needed:
                return f'{table}: it belongs to {key.column} "{target}", which is not there'
            row[key.column] = None
            self._remember(Waiting(table, str(row.get("id")), key, target))
        return None

    def mend(self) -> int:
        """Set references whose row came later; return how many stay left out."""
        lost = self._lost
        for waiting in self._waiting:
            if not self._is_there(waiting.key.table, waiting.target):
                lost += 1
                continue
            column = ddl.quoted(waiting.key.column)
            self._database.execute(
                f"UPDATE {{{waiting.table}}} SET {column} = ? WHERE id = ? AND {column} IS NULL",
                (waiting.target, waiting.id),
            )
        self._waiting.clear()
        return lost

    def _remember(self, waiting: Waiting) -> None:
        if len(self._waiting) < _MOST:
            self._waiting.append(waiting)
        else:
            self._lost += 1

    def _is_there(self, table: str, id: Any) -> bool:
        return bool(self._database.value(f"SELECT 1 FROM {{{table}}} WHERE id = ?", (id,)))

    def _of(self, table: str) -> list[Key]:
        if table not in self._keys:
            logical = {physical: name for name, physical in self._database.names.items()}
            rows = self._database.query(f"PRAGMA foreign_key_list({{{table}}})")
            self._keys[table] = [
                Key(row["from"], logical.get(row["table"]) or str(row["table"]), row["on_delete"] == "CASCADE")
                for row in rows
            ]
        return self._keys[table]
