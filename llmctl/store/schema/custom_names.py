"""Custom table names, on new hubs and existing ones, and custom columns."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmctl.core.errors import UsageError
from llmctl.store.database import Database, quote
from llmctl.store.schema import ddl, objects

#: Type of a custom field -> its SQL declaration.
TYPES: Mapping[str, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "BOOLEAN",
    "datetime": "DATETIME",
    "json": "JSONB",
}
#: Declaration -> CHECK, as on the built-in columns.
_CHECKS: Mapping[str, str] = {
    "BOOLEAN": " CHECK ({0} IN (0, 1))",
    "DATETIME": " CHECK ({0} GLOB '????-??-??T??:??:??.???+00:00')",
    "JSONB": " CHECK ({0} IS NULL OR json_valid({0}) AND typeof({0}) = 'text')",
}
#: Tables that take no custom fields: only the program writes them.
_CLOSED_TABLES = ("stream_chunks", *ddl.DERIVED_TABLES)
#: The name of the column ``refs`` in JSON and Prisma.
_RESERVED_NAMES = ("references",)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


#: Names of ``@node-llm/orm``, without case and underscores -> ours.
_TABLE_ALIASES = {
    "chat": "chats",
    "message": "messages",
    "toolcall": "tool_invocations",
    "request": "requests",
    "agentsession": "agent_sessions",
}


def find_table(name: str) -> str:
    """Return our name of a table: given in any case, or as @node-llm/orm or Prisma call it; else the name itself."""
    plain = name.replace("_", "").lower()
    return _TABLE_ALIASES.get(plain.removeprefix("llm")) or next(
        (table for table in ddl.TABLES if plain in (table.replace("_", ""), table.replace("_", "").removesuffix("s"))),
        name,
    )


def to_table_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return our name of each table -> its physical name; raise UsageError if a table gets two names."""
    names: dict[str, str] = {}
    for name, physical in wanted.items():
        if names.setdefault(find_table(name), physical) != physical:
            raise UsageError(f'table "{name}" has two names')
    return names


def check_names(wanted: Mapping[str, str]) -> None:
    """Raise UsageError for an unknown table, or a name that SQLite or this schema does not allow."""
    for logical, physical in wanted.items():
        if logical not in ddl.TABLES:
            raise UsageError(f'no table "{logical}"', hint=f"choose one of: {', '.join(sorted(ddl.TABLES))}")
        if not physical.strip() or not physical.isprintable():
            raise UsageError(f'table "{logical}" cannot be called "{physical}"', hint="use printable characters only")
        if physical.lower().startswith(("sqlite_", "llmctl_probe")):
            raise UsageError(f'table "{logical}" cannot be called "{physical}": the name is reserved by SQLite')


def all_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return the physical name of every table."""
    return {logical: names.get(logical, logical) for logical in (*ddl.TABLES, *ddl.FIXED_TABLES)}


def changed_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return the names that differ from the logical ones, as the hub stores them."""
    return {logical: physical for logical, physical in names.items() if physical != logical}


def check_new_names(wanted: Mapping[str, str]) -> None:
    """Check table names for a new hub: known, allowed and unique."""
    check_names(wanted)
    names = all_names(wanted)
    _reject_taken_names(names, {name.lower(): "built-in name" for name in objects.created_names(ddl.load_statements())})


def rename_tables(database: Database, wanted: Mapping[str, str]) -> dict[str, str]:
    """Rename tables; return logical name -> new name of those that changed.

    One transaction: tables are renamed, then views, triggers and search index are recreated with the new names. (In
    this order SQLite updates the user's own objects on them.) Raises UsageError for invalid or taken
    names, StorageError for a broken view of the user.
    """
    check_names(wanted)
    with database.transaction(durable=True):
        database.clear_name_cache()  # inside the lock: another process may have renamed some
        before = all_names(database.names)
        after = {**before, **wanted}
        changed = {logical: after[logical] for logical in after if after[logical] != before[logical]}
        if changed:
            connection = database.connection
            _reject_taken_names(after, _other_names(connection, set(before.values())))
            objects.require_unbroken(connection)
            _rename_all(connection, [(before[logical], physical) for logical, physical in changed.items()])
            objects.set_meta(connection, "tables", changed_names(after))
            objects.recreate_code(connection)
    database.clear_name_cache()
    return changed


def _rename_all(connection: sqlite3.Connection, pairs: list[tuple[str, str]]) -> None:
    """Rename in two steps, so that names can be swapped or differ in case only."""
    for number, (old, _) in enumerate(pairs):
        connection.execute(f"ALTER TABLE {quote(old)} RENAME TO llmctl_renamed_{number}")
    for number, (_, new) in enumerate(pairs):
        connection.execute(f"ALTER TABLE llmctl_renamed_{number} RENAME TO {quote(new)}")


def _other_names(connection: sqlite3.Connection, ours: set[str]) -> dict[str, str]:
    """Return lower-case name -> kind of the other objects in this file."""
    rows = connection.execute("SELECT name, type FROM sqlite_master")
    return {name.lower(): kind for name, kind in rows if name not in ours}


def _reject_taken_names(names: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Raise UsageError if two tables would have the same name, or another object has it. SQLite ignores case."""
    seen: dict[str, str] = {}
    for logical, physical in names.items():
        key = physical.lower()
        other = seen.setdefault(key, logical)
        if other != logical:
            raise UsageError(f'tables "{other}" and "{logical}" cannot both be called "{physical}"')
        if key in taken:
            raise UsageError(
                f'table "{logical}" cannot be called "{physical}": the name is taken ({taken[key]})',
                hint="choose another name",
            )


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom column to add; the table has its logical name."""

    table: str
    name: str
    type: str
    index: bool = False


def parse_field(spec: str) -> CustomField:
    """Parse ``TABLE.NAME:TYPE`` or ``TABLE.NAME:TYPE:index``; raise UsageError for anything else."""
    place, _, rest = spec.partition(":")
    type_, _, index = rest.partition(":")
    table, dot, name = place.partition(".")
    table = find_table(table)
    if not (dot and type_) or index not in ("", "index"):
        raise UsageError(
            f'invalid field "{spec}"', hint="use TABLE.NAME:TYPE[:index], such as chats.user_id:text:index"
        )
    open_tables = sorted(set(ddl.TABLES) - set(_CLOSED_TABLES))
    if table not in open_tables:
        raise UsageError(f'no table "{table}" for a field', hint=f"choose one of: {', '.join(open_tables)}")
    if type_ not in TYPES:
        raise UsageError(f'no type "{type_}" for field "{place}"', hint=f"choose one of: {', '.join(TYPES)}")
    if not _NAME.fullmatch(name):
        raise UsageError(f'invalid field name "{name}"', hint="use letters, digits and _, not starting with a digit")
    return CustomField(table, name, type_, bool(index))


def add_fields(database: Database, wanted: Iterable[CustomField]) -> list[CustomField]:
    """Add columns in one transaction; return those that are new or got an index."""
    with database.transaction(durable=True):
        database.clear_name_cache()
        changed = [field for field in wanted if _add_field(database, field)]
    database.clear_name_cache()
    return changed


def column_definition(name: str, declared: str) -> str:
    """Return the column definition for CREATE TABLE and ADD COLUMN."""
    return f"{quote(name)} {declared}{_CHECKS.get(declared, '').format(quote(name))}"


def to_snake_case(name: str) -> str:
    """Return ``user_id`` for ``userId``: names that are equal to Prisma are equal here."""
    return _HUMP.sub("_", name).lower()


def _add_field(database: Database, field: CustomField) -> bool:
    known = _custom_fields(database)
    is_new = _find_field(known, field) is None
    if is_new:
        _reject_builtin_column(database, field)
        database.execute(f"ALTER TABLE {{{field.table}}} ADD COLUMN {column_definition(field.name, TYPES[field.type])}")
        known.setdefault(field.table, {})[field.name] = TYPES[field.type]
        objects.set_meta(database.connection, "fields", known)
    return (field.index and _add_index(database, field)) or is_new


def _custom_fields(database: Database) -> dict[str, dict[str, str]]:
    fields: Mapping[str, Mapping[str, str]] = database.meta("fields", {})
    return {table: dict(columns) for table, columns in fields.items()}


def _find_field(known: Mapping[str, Mapping[str, str]], field: CustomField) -> str | None:
    """Return the type of an existing field; raise UsageError if it has that name but another type."""
    for name, declared in known.get(field.table, {}).items():
        if name == field.name and declared == TYPES[field.type]:
            return declared
        if to_snake_case(name) == to_snake_case(field.name):
            raise UsageError(
                f'field "{field.table}.{name}" already exists, as {declared.lower()}',
                hint="choose another name for the new field",
            )
    return None


def _reject_builtin_column(database: Database, field: CustomField) -> None:
    columns = [row["name"] for row in database.rows(f"PRAGMA table_xinfo({{{field.table}}})")]
    for name in (*columns, *_RESERVED_NAMES):
        if to_snake_case(name) == to_snake_case(field.name):
            raise UsageError(
                f'"{field.table}.{field.name}" is a built-in column ("{name}")',
                hint="choose another name for your field",
            )


def _add_index(database: Database, field: CustomField) -> bool:
    name = f"{field.table}_{field.name}"
    if database.value("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)):
        return False
    database.execute(f"CREATE INDEX {quote(name)} ON {{{field.table}}} ({quote(field.name)})")
    return True
