"""What is in a database, from SQLite's own catalogue: the one description that emitters and checks work from.

Comments are read from the text of the ``CREATE`` statements; all else comes from PRAGMAs. SQLite drops what stands
above a statement, so comments on whole tables are known for our own tables only, from ``schema/``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmctl.store.errors import storage_errors
from llmctl.store.schema import ddl, sql_text

if TYPE_CHECKING:
    from llmctl.store.database import Database

#: What FTS5 keeps beside a search table, and what FTS3/4 and R*Tree do.
_SHADOWS = (
    *("data", "idx", "content", "docsize", "config"),
    *("segments", "segdir", "stat", "node", "rowid", "parent"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``default`` is an SQL expression; ``values`` is the closed set that a CHECK allows, if it has one."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    #: Place in the primary key, from 1; 0 for a column that is no part of it.
    key: int = 0
    values: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that was made by name. ``columns`` has an empty string for an expression."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    descending: frozenset[str] = frozenset()
    #: It has a WHERE clause.
    partial: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether other databases and Prisma have such an index too."""
        return not self.partial and all(self.columns)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference to another table."""

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is neither virtual nor what stands behind a virtual one."""

    name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    comment: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the primary key's columns, in its order."""
        return tuple(column.name for column in sorted(self.columns, key=lambda column: column.key) if column.key)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the schema as SQLite keeps it. ``kind`` is table, index, trigger or view."""

    kind: str
    name: str
    #: The table it belongs to.
    table: str
    sql: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A whole database."""

    tables: tuple[Table, ...]
    #: What makes it, in the order it was made; without what search tables keep behind them.
    statements: tuple[Statement, ...]
    #: Full-text search tables, and behind them the tables that FTS5 keeps.
    search_tables: tuple[str, ...] = ()

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all of a kind: ``trigger``, ``view``."""
        return tuple(statement.name for statement in self.statements if statement.kind == kind)

    def find(self, name: str) -> Table | None:
        """Return the table of that name, in any case as in SQL."""
        return next((table for table in self.tables if table.name.lower() == name.lower()), None)


def catalogue(connection: sqlite3.Connection) -> Catalogue:
    """Describe a database, whatever its tables are called and whoever made them."""
    statements, search = _statements(connection)
    return Catalogue(
        tables=tuple(_table(connection, s) for s in statements if s.kind == "table" and s.name not in search),
        statements=statements,
        search_tables=search,
    )


def statements_of_hub(database: Database) -> tuple[Statement, ...]:
    """Return what made an open hub: far less work than to describe it."""
    with storage_errors(database.path):
        return _statements(database.connection)[0]


def shipped(names: Mapping[str, str] | None = None) -> Catalogue:
    """Describe what ``schema/`` makes under a hub's own table names, with the comments that stand above statements."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    statements = ddl.statements(names)
    try:
        for statement in statements:
            connection.execute(statement)
        found = catalogue(connection)
    finally:
        connection.close()
    comments = [sql_text.leading_comment(statement) for statement in statements]
    commented = [replace(own, comment=text) for own, text in zip(found.statements, comments, strict=True)]
    return with_comments(replace(found, statements=tuple(commented)), _table_comments(commented))


def of_hub(database: Database, *, comments: bool = True) -> Catalogue:
    """Describe an open hub, with the comments of ``schema/`` where it has none of its own (it takes twice as long)."""
    with storage_errors(database.path):
        found = catalogue(database.connection)
        return described(found, database.names) if comments else found


def described(found: Catalogue, names: Mapping[str, str]) -> Catalogue:
    """Return a hub's catalogue with our comments on our tables and columns, where it has none of its own."""
    return with_comments(found, _all_comments(shipped(names)))


def with_comments(found: Catalogue, comments: Mapping[tuple[str, str], str]) -> Catalogue:
    """Fill in comments by (table, column) where there are none; a table's own stands under the column ``""``."""
    tables = []
    for table in found.tables:
        columns = tuple(
            replace(column, comment=column.comment or comments.get((table.name, column.name), ""))
            for column in table.columns
        )
        tables.append(replace(table, columns=columns, comment=table.comment or comments.get((table.name, ""), "")))
    return replace(found, tables=tuple(tables))


def _table_comments(statements: list[Statement]) -> dict[tuple[str, str], str]:
    return {(s.name, ""): s.comment for s in statements if s.kind == "table"}


def _all_comments(source: Catalogue) -> dict[tuple[str, str], str]:
    comments = {(table.name, ""): table.comment for table in source.tables}
    return comments | {(table.name, c.name): c.comment for table in source.tables for c in table.columns}


def _statements(connection: sqlite3.Connection) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statements of a database, and the names of its search tables and what these keep behind them."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '_prisma_migrations' ORDER BY rowid"
    ).fetchall()
    search = _search_tables(rows)
    kept = (row for row in rows if row[1] not in search or sql_text.makes_virtual(row[3]))
    return tuple(Statement(*row) for row in kept), search


def _search_tables(rows: list[tuple[str, str, str, str]]) -> tuple[str, ...]:
    names = {name for kind, name, _, _ in rows if kind == "table"}
    virtual = [name for kind, name, _, sql in rows if kind == "table" and sql_text.makes_virtual(sql)]
    return tuple(
        name for own in virtual for name in (own, *(f"{own}_{shadow}" for shadow in _SHADOWS)) if name in names
    )


def _table(connection: sqlite3.Connection, statement: Statement) -> Table:
    name = statement.name
    return Table(
        name=name,
        columns=tuple(_columns(connection, statement)),
        indexes=tuple(_indexes(connection, name)),
        foreign_keys=tuple(_foreign_keys(connection, name)),
    )


def _columns(connection: sqlite3.Connection, statement: Statement) -> Iterator[Column]:
    texts = sql_text.columns(statement.sql)
    for row in connection.execute(f"PRAGMA table_xinfo({ddl.quoted(statement.name)})"):
        _, name, type, not_null, default, key, hidden = row
        if hidden == 1:
            continue
        text = texts.get(name.lower(), sql_text.ColumnText())
        yield Column(
            name=name,
            type=type,
            nullable=not not_null and not (key and type.upper() == "INTEGER"),
            default=default,
            key=key,
            values=text.values,
            comment=text.comment,
        )


def _indexes(connection: sqlite3.Connection, table: str) -> Iterator[Index]:
    # The newest comes first; those behind a primary key are no indexes of their own.
    listed = connection.execute(f"PRAGMA index_list({ddl.quoted(table)})").fetchall()
    for _, name, unique, origin, partial in reversed(listed):
        if origin == "pk":
            continue
        rows = [row for row in connection.execute(f"PRAGMA index_xinfo({ddl.quoted(name)})") if row[5]]
        yield Index(
            name=name,
            columns=tuple(row[2] or "" for row in rows),
            unique=bool(unique),
            descending=frozenset(row[2] for row in rows if row[3] and row[2]),
            partial=bool(partial),
        )


def _foreign_keys(connection: sqlite3.Connection, table: str) -> Iterator[ForeignKey]:
    parts: dict[int, list[tuple[str, str, str, str, str]]] = {}
    for id, _, target, column, referenced, on_update, on_delete, _ in connection.execute(
        f"PRAGMA foreign_key_list({ddl.quoted(table)})"
    ):
        parts.setdefault(id, []).append((target, column, referenced or "", on_update, on_delete))
    for id in sorted(parts, reverse=True):  # the last one declared has the number 0
        rows = parts[id]
        target, _, _, on_update, on_delete = rows[0]
        references = tuple(row[2] for row in rows if row[2]) or _primary_key(connection, target)
        yield ForeignKey(tuple(row[1] for row in rows), target, references, on_delete, on_update)


def _primary_key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    rows = connection.execute(f"PRAGMA table_xinfo({ddl.quoted(table)})").fetchall()
    return tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])
