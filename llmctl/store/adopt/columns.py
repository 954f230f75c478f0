"""The user's own columns and indexes on a table that is adopted."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmctl.store.adopt import convert
from llmctl.store.adopt.detect import Extra, Source
from llmctl.store.schema import ddl, objects
from llmctl.store.schema.custom_fields import snake
from llmctl.store.schema.ddl import quoted

#: How a declared type begins -> what it is to us. Everything else is TEXT.
_DECLARED = (
    *(("INT", "INTEGER"), ("BIGINT", "INTEGER"), ("SMALLINT", "INTEGER"), ("TINYINT", "INTEGER")),
    *(("REAL", "REAL"), ("DOUBLE", "REAL"), ("FLOAT", "REAL"), ("DECIMAL", "REAL"), ("NUMERIC", "REAL")),
    *(("BOOL", "BOOLEAN"), ("DATE", "DATETIME"), ("TIMESTAMP", "DATETIME"), ("JSON", "JSONB"), ("BLOB", "BLOB")),
)
#: What every value of a column has to be for the column to be of that type.
_HOLDS = {
    "DATETIME": "llmctl_time({0}) IS NOT NULL",
    "BOOLEAN": "typeof({0}) = 'integer' AND {0} IN (0, 1)",
    "JSONB": "typeof({0}) = 'text' AND json_valid({0})",
}
_VALUE = {"DATETIME": "llmctl_time({0})"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it will be: the name, the declared type, its definition, the SQL of its values."""

    name: str
    type: str
    definition: str
    source: str
    notes: list[str] = field(default_factory=list)


def plan(connection: sqlite3.Connection, source: Source) -> list[Column]:
    """Return what becomes of the user's own columns of a table."""
    convert.register(connection)
    ours = _our_columns(source.logical)
    return [_column(connection, source, extra, ours) for extra in source.extras]


def indexes(
    connection: sqlite3.Connection, source: Source, columns: Sequence[Column], notes: list[str]
) -> list[objects.Thing]:
    """Return the indexes to be made anew: those on a column of the user's own. Ours do for the rest."""
    names = {theirs: ours for ours, theirs in source.columns.items()}
    names |= {extra.name: column.name for extra, column in zip(source.extras, columns, strict=True)}
    own = {extra.name for extra in source.extras}
    found = []
    for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({quoted(source.table)})").fetchall():
        keys = [row[2] for row in connection.execute(f"PRAGMA index_info({quoted(name)})")]
        if origin == "pk" or (not own & set(keys) and None not in keys and not partial):
            continue
        if partial or None in keys:
            notes.append(f'the index "{name}" was not carried over: it has a condition or an expression')
            continue
        new = name if origin == "c" else f"{source.table}_{'_'.join(keys)}_key"
        listed = ", ".join(quoted(names[key]) for key in keys)
        sql = f"CREATE {'UNIQUE ' if unique else ''}INDEX {quoted(new)} ON {quoted(source.table)} ({listed})"
        found.append(objects.Thing("index", new, source.table, sql))
    return found


def _column(connection: sqlite3.Connection, source: Source, extra: Extra, ours: set[str]) -> Column:
    clashes = snake(extra.name) in ours
    name = f"{extra.name}_adopted" if clashes else extra.name
    declared = _declared(connection, source.table, extra)
    default = f" DEFAULT {extra.default}" if extra.default is not None else ""
    definition = f"{quoted(name)} {declared}{default}{_reference(connection, source.table, extra.name)}"
    value = _VALUE.get(declared, "{0}").format(quoted(extra.name))
    notes = []
    if clashes:
        notes.append(f'"{source.table}.{extra.name}" is now "{name}": llmctl has a column of that name')
    if extra.required and extra.default is None:
        notes.append(f'"{source.table}.{name}" was required and is optional now')
    return Column(name, declared, definition, value, notes)


def _declared(connection: sqlite3.Connection, table: str, extra: Extra) -> str:
    declared = next((ours for start, ours in _DECLARED if extra.type.startswith(start)), "TEXT")
    condition = _HOLDS.get(declared)
    if condition is None:
        return declared
    column = quoted(extra.name)
    other = connection.execute(
        f"SELECT 1 FROM {quoted(table)} WHERE {column} IS NOT NULL AND NOT ({condition.format(column)}) LIMIT 1"
    ).fetchone()
    # One value that does not fit, and the column stays what holds everything.
    return "TEXT" if other else declared


def _reference(connection: sqlite3.Connection, table: str, column: str) -> str:
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})"):
        _, _, parent, theirs, to, on_update, on_delete, _ = row
        if theirs == column:
            target = f" ({quoted(to)})" if to else ""
            return f" REFERENCES {quoted(parent)}{target} ON DELETE {on_delete} ON UPDATE {on_update}"
    return ""


def _our_columns(logical: str) -> set[str]:
    """Return the columns of one of our tables, and what Prisma calls ``refs``."""
    for statement in ddl.statements():
        if objects.made(statement) == ("TABLE", logical):
            return set(re.findall(r"^  ([a-z_]+) [A-Z]", statement, re.MULTILINE)) | {"references"}
    raise ValueError(logical)
