"""Foreign keys of imported rows: ids that differ in this hub, and rows that are missing or come later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.store.database import Database
from llmctl.store.schema import ddl

#: Id of a connection, an agent or a tool invocation; not declared as a foreign key.
_SOURCE_COLUMN = "source_id"
#: References that can wait for their row. An ordered file needs a few; the limit is for any other.
_MAX_DEFERRED = 100_000


class ForeignKeyColumn(NamedTuple):
    """A foreign key: column, referenced table, and whether a row without it must be skipped."""

    column: str
    table: str
    needed: bool


class DeferredKey(NamedTuple):
    """A reference set to NULL because its row is missing so far."""

    table: str
    id: str
    key: ForeignKeyColumn
    target: str


class ForeignKeyResolver:
    """Resolves the foreign keys of rows imported into one hub."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, list[ForeignKeyColumn]] = {}
        self._aliases: dict[str, str] = {}
        self._deferred: list[DeferredKey] = []
        self._lost_count = 0

    def alias_id(self, imported_id: str, existing_id: str) -> None:
        """Record that an imported row is an existing one with another id."""
        self._aliases[imported_id] = existing_id

    def translate_ids(self, table: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row with aliased ids replaced."""
        if not self._aliases:
            return row
        result = dict(row)
        for column in (*(key.column for key in self._keys_for(table)), _SOURCE_COLUMN):
            if result.get(column) in self._aliases:
                result[column] = self._aliases[result[column]]
        refs = result.get("refs")
        if isinstance(refs, str) and refs != "{}":
            for imported_id, existing_id in self._aliases.items():
                refs = refs.replace(imported_id, existing_id)
            result["refs"] = refs
        return result

    def drop_missing_keys(self, table: str, row: dict[str, Any]) -> str | None:
        """Set references to missing rows to NULL; return the reason if the row must be skipped instead."""
        for key in self._keys_for(table):
            target = row.get(key.column)
            if target is None or self._exists(key.table, target):
                continue
            if key.needed:
                return f'{table}: its {key.column} "{target}" does not exist'
            row[key.column] = None
            self._defer(DeferredKey(table, str(row.get("id")), key, target))
        return None

    def resolve_deferred(self) -> int:
        """Set references whose row came later; return the number of those that stay NULL."""
        lost = self._lost_count
        for waiting in self._deferred:
            if not self._exists(waiting.key.table, waiting.target):
                lost += 1
                continue
            column = ddl.quote(waiting.key.column)
            self._database.execute(
                f"UPDATE {{{waiting.table}}} SET {column} = ? WHERE id = ? AND {column} IS NULL",
                (waiting.target, waiting.id),
            )
        self._deferred.clear()
        return lost

    def _defer(self, waiting: DeferredKey) -> None:
        if len(self._deferred) < _MAX_DEFERRED:
            self._deferred.append(waiting)
        else:
            self._lost_count += 1

    def _exists(self, table: str, id: Any) -> bool:
        return bool(self._database.value(f"SELECT 1 FROM {{{table}}} WHERE id = ?", (id,)))

    def _keys_for(self, table: str) -> list[ForeignKeyColumn]:
        if table not in self._keys:
            logical = {physical: name for name, physical in self._database.names.items()}
            rows = self._database.query(f"PRAGMA foreign_key_list({{{table}}})")
            self._keys[table] = [
                ForeignKeyColumn(
                    row["from"], logical.get(row["table"]) or str(row["table"]), row["on_delete"] == "CASCADE"
                )
                for row in rows
            ]
        return self._keys[table]
