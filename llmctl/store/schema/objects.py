"""What stands in a hub beside its tables: our views, triggers and search index, which are code, and what users added.

Code is never altered: it is dropped, the tables are changed, and it is made anew from ``schema/``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from llmctl.core.errors import StorageError
from llmctl.core.stored_json import dumps, loads
from llmctl.store.schema import ddl

_MADE = re.compile(
    r'^CREATE\s+(?:UNIQUE\s+)?(VIRTUAL TABLE|TABLE|INDEX|TRIGGER|VIEW)\s+(?:"((?:[^"]|"")+)"|(\w+))', re.MULTILINE
)
_CODE = ("VIRTUAL TABLE", "TRIGGER", "VIEW")
_SET_AWAY = "INSERT INTO hub_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


class Thing(NamedTuple):
    """An object of SQLite's catalogue."""

    kind: str
    name: str
    table: str
    sql: str


def made(statement: str) -> tuple[str, str]:
    """Return what a statement of ``schema/`` makes: ``("TABLE", "chats")``."""
    found = _MADE.search(statement)
    if found is None:
        raise ValueError(f"a statement that makes nothing: {statement[:60]!r}")
    return found[1], found[3] or found[2].replace('""', '"')


def is_code(statement: str) -> bool:
    return made(statement)[0] in _CODE


def own_names(statements: Iterable[str]) -> set[str]:
    """Return the names of the views, triggers, search tables and indexes that these statements make."""
    return {name for kind, name in map(made, statements) if kind != "TABLE"}


def remember_code(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    """Note in the hub which of its objects are code of ours, for a later version that may not have them."""
    remember(connection, "code", [made(statement)[1] for statement in statements if is_code(statement)])


def remember(connection: sqlite3.Connection, key: str, value: object) -> None:
    """Keep a fact about this hub in ``hub_meta``; None removes it."""
    if value is None:
        connection.execute("DELETE FROM hub_meta WHERE key = ?", (key,))
    else:
        connection.execute(_SET_AWAY, (key, dumps(value)))


def recall(connection: sqlite3.Connection, key: str) -> object:
    """Return a fact about this hub, or None."""
    found = connection.execute("SELECT value FROM hub_meta WHERE key = ?", (key,)).fetchone()
    return loads(found[0]) if found else None


def renew_code(connection: sqlite3.Connection, statements: Sequence[str] | None = None) -> None:
    """Drop our code and make it anew from ``statements``: those of ``schema/`` under the hub's names by default."""
    drop_code(connection)
    make_code(connection, statements if statements is not None else ddl.statements(_names(connection)))


def drop_code(connection: sqlite3.Connection) -> None:
    """Drop our views, triggers and search index. Triggers of the user's on our views are set aside in the hub."""
    before = theirs(connection)
    for kind in ("trigger", "view", "table"):
        for thing in _code(connection):
            if thing.kind == kind:
                connection.execute(f"DROP {kind} {ddl.quoted(thing.name)}")
    present = {thing.name for thing in things(connection)}
    gone = [thing.sql for thing in before if thing.name not in present]
    remember(connection, "set_aside", [*_aside(connection), *gone] or None)


def make_code(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    """Make our code, fill the search index, put back what was set aside."""
    code = [statement for statement in statements if is_code(statement)]
    for statement in code:
        connection.execute(statement)
    rebuild_search(connection)
    remember_code(connection, code)
    for sql in _aside(connection):
        connection.execute(sql)
    remember(connection, "set_aside", None)


def rebuild_search(connection: sqlite3.Connection) -> None:
    """Fill every search index of ours from the messages."""
    for thing in things(connection):
        if thing.kind == "table" and thing.name == "message_search":
            connection.execute("INSERT INTO message_search (message_search) VALUES ('rebuild')")


def things(connection: sqlite3.Connection) -> list[Thing]:
    """Return everything in SQLite's catalogue that has SQL."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return [Thing(*row) for row in rows]


def theirs(connection: sqlite3.Connection, kinds: Sequence[str] = ("view", "trigger")) -> list[Thing]:
    """Return the user's own views and triggers (indexes, if asked for)."""
    ours = {thing.name for thing in _code(connection)} | own_names(ddl.statements())
    return [thing for thing in things(connection) if thing.kind in kinds and thing.name not in ours]


def blocker(connection: sqlite3.Connection) -> tuple[Thing, str] | None:
    """Return the view or trigger that makes SQLite refuse every ALTER TABLE, and what is wrong with it."""
    connection.execute("SAVEPOINT probe")
    try:
        connection.execute("CREATE TABLE llmctl_probe (x)")
        connection.execute("ALTER TABLE llmctl_probe RENAME TO llmctl_probed")
    except sqlite3.OperationalError as error:
        return _named_in(connection, str(error))
    finally:
        connection.execute("ROLLBACK TO probe")
        connection.execute("RELEASE probe")
    return None


def refuse_broken(connection: sqlite3.Connection) -> None:
    """Raise StorageError for a view or trigger of the user's that is broken: SQLite then alters no table."""
    broken = blocker(connection)
    if broken is not None:
        thing, why = broken
        raise StorageError(
            f'your {thing.kind} "{thing.name}" is broken: {why}',
            hint=f"nothing was changed; mend it, or: DROP {thing.kind.upper()} {ddl.quoted(thing.name)}",
            reason="broken_view",
        )


def restore_missing(connection: sqlite3.Connection, before: Iterable[Thing]) -> None:
    """Make again what was dropped along with a table that was built anew."""
    present = {thing.name for thing in things(connection)}
    for thing in before:
        if thing.name not in present:
            connection.execute(thing.sql)


def _code(connection: sqlite3.Connection) -> list[Thing]:
    known = recall(connection, "code")
    names = known if isinstance(known, list) else [made(s)[1] for s in ddl.statements() if is_code(s)]
    return [thing for thing in things(connection) if thing.name in names]


def _names(connection: sqlite3.Connection) -> Mapping[str, str]:
    known = recall(connection, "tables")
    return known if isinstance(known, dict) else {}


def _aside(connection: sqlite3.Connection) -> list[str]:
    aside = recall(connection, "set_aside")
    return aside if isinstance(aside, list) else []


def _named_in(connection: sqlite3.Connection, text: str) -> tuple[Thing, str]:
    candidates = [
        thing
        for thing in things(connection)
        if thing.kind in ("view", "trigger") and text.startswith(f"error in {thing.kind} {thing.name}")
    ]
    if not candidates:
        raise StorageError(f"the tables cannot be altered: {text}")
    thing = max(candidates, key=lambda thing: len(thing.name))
    return thing, text.removeprefix(f"error in {thing.kind} {thing.name}").lstrip(": ")
