"""Columns of the user's own on tables of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmctl.core.errors import UsageError
from llmctl.store.database import Database
from llmctl.store.schema import ddl, objects

#: Our word for a type -> its declaration. Only these can be asked for.
TYPES: Mapping[str, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "BOOLEAN",
    "datetime": "DATETIME",
    "json": "JSONB",
}
#: What a column of that declaration may hold: the rules of our own columns.
_CHECKS: Mapping[str, str] = {
    "BOOLEAN": " CHECK ({0} IN (0, 1))",
    "DATETIME": " CHECK ({0} GLOB '????-??-??T??:??:??.???+00:00')",
    "JSONB": " CHECK ({0} IS NULL OR json_valid({0}) AND typeof({0}) = 'text')",
}
#: Tables that the program fills on its own account.
_CLOSED = ("stream_chunks", *ddl.KEPT)
#: What the column ``refs`` is called in JSON and in Prisma.
_RESERVED = ("references",)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Field:
    """A column to be added; the table by its logical name."""

    table: str
    name: str
    type: str
    index: bool = False


def parse(spec: str) -> Field:
    """Read ``TABLE.NAME:TYPE`` or ``TABLE.NAME:TYPE:index``; raise UsageError for anything else."""
    place, _, rest = spec.partition(":")
    type_, _, index = rest.partition(":")
    table, dot, name = place.partition(".")
    if not (dot and type_) or index not in ("", "index"):
        raise UsageError(f'no field "{spec}"', hint="write TABLE.NAME:TYPE, such as chats.user_id:text or …:text:index")
    open_tables = sorted(set(ddl.TABLES) - set(_CLOSED))
    if table not in open_tables:
        raise UsageError(f'no table "{table}" for a field', hint=f"there are {', '.join(open_tables)}")
    if type_ not in TYPES:
        raise UsageError(f'no type "{type_}" for field "{place}"', hint=f"there are {', '.join(TYPES)}")
    if not _NAME.fullmatch(name):
        raise UsageError(f'a field cannot be called "{name}"', hint="letters, digits and _, not beginning with a digit")
    return Field(table, name, type_, bool(index))


def add(database: Database, wanted: Iterable[Field]) -> list[Field]:
    """Add columns in one transaction; return those that were not there yet, or got an index."""
    with database.transaction(durable=True):
        database.forget_names()
        changed = [field for field in wanted if _add(database, field)]
    database.forget_names()
    return changed


def definition(name: str, declared: str) -> str:
    """Return a column for CREATE TABLE and ADD COLUMN."""
    return f"{ddl.quoted(name)} {declared}{_CHECKS.get(declared, '').format(ddl.quoted(name))}"


def snake(name: str) -> str:
    """Return ``userId`` as ``user_id``: names that Prisma would take for one are one to us."""
    return _HUMP.sub("_", name).lower()


def _add(database: Database, field: Field) -> bool:
    known = _known(database)
    is_new = _find(known, field) is None
    if is_new:
        _refuse_clash(database, field)
        database.execute(f"ALTER TABLE {{{field.table}}} ADD COLUMN {definition(field.name, TYPES[field.type])}")
        known.setdefault(field.table, {})[field.name] = TYPES[field.type]
        objects.remember(database.connection, "fields", known)
    return (field.index and _add_index(database, field)) or is_new


def _known(database: Database) -> dict[str, dict[str, str]]:
    fields: Mapping[str, Mapping[str, str]] = database.meta("fields", {})
    return {table: dict(columns) for table, columns in fields.items()}


def _find(known: Mapping[str, Mapping[str, str]], field: Field) -> str | None:
    """Return the type of the field that is there already; raise UsageError for one of that name but another type."""
    for name, declared in known.get(field.table, {}).items():
        if name == field.name and declared == TYPES[field.type]:
            return declared
        if snake(name) == snake(field.name):
            raise UsageError(
                f'field "{field.table}.{name}" is there already, as {declared.lower()}',
                hint="choose another name for the new one",
            )
    return None


def _refuse_clash(database: Database, field: Field) -> None:
    columns = [row["name"] for row in database.rows(f"PRAGMA table_xinfo({{{field.table}}})")]
    for name in (*columns, *_RESERVED):
        if snake(name) == snake(field.name):
            raise UsageError(
                f'"{field.table}.{field.name}" is a column of llmctl\'s own ("{name}")',
                hint="choose another name for your field",
            )


def _add_index(database: Database, field: Field) -> bool:
    name = f"{field.table}_{field.name}"
    if database.value("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)):
        return False
    database.execute(f"CREATE INDEX {ddl.quoted(name)} ON {{{field.table}}} ({ddl.quoted(field.name)})")
    return True
