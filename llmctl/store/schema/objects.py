"""Objects of a hub besides tables: llmctl's views, triggers and search index ("code"), and the user's own.

Code is never altered: it is dropped, the tables are changed, and it is recreated from ``schema/``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from llmctl.core.errors import StorageError
from llmctl.core.stored_values import dumps, loads
from llmctl.core.values import Value
from llmctl.store.database import quote
from llmctl.store.schema import ddl

_CREATE = re.compile(
    r'^CREATE\s+(?:UNIQUE\s+)?(VIRTUAL TABLE|TABLE|INDEX|TRIGGER|VIEW)\s+(?:"((?:[^"]|"")+)"|(\w+))', re.MULTILINE
)
_CODE = ("VIRTUAL TABLE", "TRIGGER", "VIEW")
_UPSERT_META = "INSERT INTO hub_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


class SchemaObject(Value):
    """An object of SQLite's catalogue."""

    kind: str
    name: str
    table: str
    sql: str


def created_object(statement: str) -> tuple[str, str]:
    """Return kind and name of the object a statement of ``schema/`` creates: ``("TABLE", "chats")``."""
    result = _CREATE.search(statement)
    if result is None:
        raise ValueError(f"not a CREATE statement: {statement[:60]!r}")
    return result[1], result[3] or result[2].replace('""', '"')


def is_code(statement: str) -> bool:
    return created_object(statement)[0] in _CODE


def created_names(statements: Iterable[str]) -> set[str]:
    """Return the names of the views, triggers, search tables and indexes that these statements create."""
    return {name for kind, name in map(created_object, statements) if kind != "TABLE"}


def record_code_names(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    """Store the names of llmctl's code objects in the hub, for a later version that may not have them."""
    set_meta(connection, "code", [created_object(statement)[1] for statement in statements if is_code(statement)])


def set_meta(connection: sqlite3.Connection, key: str, value: object) -> None:
    """Store a value in ``hub_meta``; None removes it."""
    if value is None:
        connection.execute("DELETE FROM hub_meta WHERE key = ?", (key,))
    else:
        connection.execute(_UPSERT_META, (key, dumps(value)))


def get_meta(connection: sqlite3.Connection, key: str) -> object:
    """Return a value of ``hub_meta``, or None."""
    row = connection.execute("SELECT value FROM hub_meta WHERE key = ?", (key,)).fetchone()
    return loads(row[0]) if row else None


def recreate_code(connection: sqlite3.Connection, statements: Sequence[str] | None = None) -> None:
    """Drop llmctl's code and recreate it from ``statements``, by default ``schema/`` with the hub's names."""
    drop_code(connection)
    create_code(connection, statements if statements is not None else ddl.load_statements(_names(connection)))


def drop_code(connection: sqlite3.Connection, keep: Iterable[str] = ()) -> None:
    """Drop llmctl's views, triggers and search index. The user's triggers on these views are saved in ``hub_meta``.

    A search index that one of the statements ``keep`` would create as it is stays: filling it takes long.
    """
    before = user_objects(connection)
    kept = set(map(_without_comment, keep))
    for kind in ("trigger", "view", "table"):
        for thing in _code_objects(connection):
            if thing.kind == kind and (kind != "table" or thing.sql not in kept):
                connection.execute(f"DROP {kind} {quote(thing.name)}")
    present = {thing.name for thing in list_objects(connection)}
    missing = [thing.sql for thing in before if thing.name not in present]
    set_meta(connection, "set_aside", [*_set_aside_sql(connection), *missing] or None)


def create_code(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    """Create llmctl's code, fill the search index, restore the user's saved triggers."""
    code = [statement for statement in statements if is_code(statement)]
    kept = {thing.name for thing in list_objects(connection) if thing.kind == "table"}
    for statement in code:
        if created_object(statement)[1] not in kept:
            connection.execute(statement)
    if not kept.issuperset(_search_names(code)):
        rebuild_search(connection)
    record_code_names(connection, code)
    for sql in _set_aside_sql(connection):
        connection.execute(sql)
    set_meta(connection, "set_aside", None)


def _search_names(code: Iterable[str]) -> set[str]:
    return {name for kind, name in map(created_object, code) if kind == "VIRTUAL TABLE"}


def _without_comment(statement: str) -> str:
    """Return a statement as SQLite stores it."""
    found = _CREATE.search(statement)
    return statement[found.start() if found else 0 :].removesuffix(";")


def rebuild_search(connection: sqlite3.Connection) -> None:
    """Rebuild the search index from the messages."""
    for thing in list_objects(connection):
        if thing.kind == "table" and thing.name == "message_search":
            connection.execute("INSERT INTO message_search (message_search) VALUES ('rebuild')")


def list_objects(connection: sqlite3.Connection) -> list[SchemaObject]:
    """Return all objects of SQLite's catalogue that have SQL."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return [SchemaObject(*row) for row in rows]


def user_objects(connection: sqlite3.Connection, kinds: Sequence[str] = ("view", "trigger")) -> list[SchemaObject]:
    """Return the user's own objects of these kinds."""
    ours = {thing.name for thing in _code_objects(connection)} | created_names(ddl.load_statements())
    return [thing for thing in list_objects(connection) if thing.kind in kinds and thing.name not in ours]


def find_broken_object(connection: sqlite3.Connection) -> tuple[SchemaObject, str] | None:
    """Return the broken view or trigger that makes SQLite refuse every ALTER TABLE, and its error."""
    connection.execute("SAVEPOINT probe")
    try:
        connection.execute("CREATE TABLE llmctl_probe (x)")
        connection.execute("ALTER TABLE llmctl_probe RENAME TO llmctl_probed")
    except sqlite3.OperationalError as error:
        return _object_from_error(connection, str(error))
    finally:
        connection.execute("ROLLBACK TO probe")
        connection.execute("RELEASE probe")
    return None


def require_unbroken(connection: sqlite3.Connection) -> None:
    """Raise StorageError for a broken view or trigger of the user: SQLite then refuses every ALTER TABLE."""
    broken = find_broken_object(connection)
    if broken is not None:
        thing, why = broken
        raise StorageError(
            f'your {thing.kind} "{thing.name}" is broken: {why}',
            hint=f"nothing was changed; fix it, or: DROP {thing.kind.upper()} {quote(thing.name)}",
            reason="broken_view",
        )


def restore_missing(connection: sqlite3.Connection, before: Iterable[SchemaObject]) -> None:
    """Recreate objects that were dropped along with a rebuilt table."""
    present = {thing.name for thing in list_objects(connection)}
    for thing in before:
        if thing.name not in present:
            connection.execute(thing.sql)


def _code_objects(connection: sqlite3.Connection) -> list[SchemaObject]:
    known = get_meta(connection, "code")
    names = known if isinstance(known, list) else [created_object(s)[1] for s in ddl.load_statements() if is_code(s)]
    return [thing for thing in list_objects(connection) if thing.name in names]


def _names(connection: sqlite3.Connection) -> Mapping[str, str]:
    known = get_meta(connection, "tables")
    return known if isinstance(known, dict) else {}


def _set_aside_sql(connection: sqlite3.Connection) -> list[str]:
    aside = get_meta(connection, "set_aside")
    return aside if isinstance(aside, list) else []


def _object_from_error(connection: sqlite3.Connection, text: str) -> tuple[SchemaObject, str]:
    candidates = [
        thing
        for thing in list_objects(connection)
        if thing.kind in ("view", "trigger") and text.startswith(f"error in {thing.kind} {thing.name}")
    ]
    if not candidates:
        raise StorageError(f"cannot alter the tables: {text}")
    thing = max(candidates, key=lambda thing: len(thing.name))
    return thing, text.removeprefix(f"error in {thing.kind} {thing.name}").lstrip(": ")
