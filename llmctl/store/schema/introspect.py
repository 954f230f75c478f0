"""Describe a database from SQLite's catalogue, for emitters and checks.

Comments are read from the text of the ``CREATE`` statements; the rest comes from PRAGMAs. SQLite drops text above a
statement, so comments on tables are known for llmctl's own tables only, from ``schema/``.

Our tokenizer stays instead of ``sqlite_utils.create_table_parser``: that one assigns a comment after a column's comma
to the next column, and takes 10 times as long.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmctl.core.values import Value
from llmctl.store.database import quote, storage_errors
from llmctl.store.schema import ddl

if TYPE_CHECKING:
    from llmctl.store.database import Database


#: Suffixes of shadow tables: of FTS5, then of FTS3/4 and R*Tree.
_SHADOWS = (
    *("data", "idx", "content", "docsize", "config"),
    *("segments", "segdir", "stat", "node", "rowid", "parent"),
)
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d]\w*)
      | (?P<newline>\n)
      | (?P<space>[^\S\n]+)
      | .""",
    re.VERBOSE | re.DOTALL,
)
_VALUES = re.compile(
    r"CHECK\s*\(\s*\w+\s+IN\s*\(\s*('(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*)\s*\)\s*\)", re.IGNORECASE
)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``default`` is an SQL expression; ``values`` is the closed set that a CHECK allows, if it has one."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    #: Position in the primary key, from 1; 0 for other columns.
    key: int = 0
    values: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """A named index. ``columns`` has an empty string for an expression."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    descending: frozenset[str] = frozenset()
    #: It has a WHERE clause.
    partial: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether other databases and Prisma support such an index."""
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
    """A table that is neither virtual nor a shadow table."""

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
    """A statement of the schema as SQLite stores it. ``kind`` is table, index, trigger or view."""

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
    #: Statements in creation order, without those of shadow tables.
    statements: tuple[Statement, ...]
    #: Full-text search tables, each followed by its shadow tables.
    search_tables: tuple[str, ...] = ()

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all objects of a kind: ``trigger``, ``view``."""
        return tuple(statement.name for statement in self.statements if statement.kind == kind)

    def find(self, name: str) -> Table | None:
        """Return the table with that name, ignoring case as SQL does."""
        return next((table for table in self.tables if table.name.lower() == name.lower()), None)


def read_catalogue(connection: sqlite3.Connection) -> Catalogue:
    """Describe a database, whatever its table names and origin."""
    statements, search = _statements(connection)
    return Catalogue(
        tables=tuple(_table(connection, s) for s in statements if s.kind == "table" and s.name not in search),
        statements=statements,
        search_tables=search,
    )


def hub_statements(database: Database) -> tuple[Statement, ...]:
    """Return the statements that created a hub; much faster than describing it."""
    with storage_errors(database.path):
        return _statements(database.connection)[0]


def describe_schema(names: Mapping[str, str] | None = None) -> Catalogue:
    """Describe the schema of ``schema/`` under a hub's table names, with the comments above statements."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    statements = ddl.load_statements(names)
    try:
        for statement in statements:
            connection.execute(statement)
        result = read_catalogue(connection)
    finally:
        connection.close()
    comments = [leading_comment(statement) for statement in statements]
    commented = [replace(own, comment=text) for own, text in zip(result.statements, comments, strict=True)]
    return fill_comments(replace(result, statements=tuple(commented)), _table_comments(commented))


def describe_hub(database: Database, *, comments: bool = True) -> Catalogue:
    """Describe an open hub; ``comments`` adds those of ``schema/`` where it has none, and takes twice as long."""
    with storage_errors(database.path):
        result = read_catalogue(database.connection)
        return add_schema_comments(result, database.names) if comments else result


def add_schema_comments(catalogue: Catalogue, names: Mapping[str, str]) -> Catalogue:
    """Return a hub's catalogue with the comments of ``schema/`` where it has none."""
    return fill_comments(catalogue, _all_comments(describe_schema(names)))


def fill_comments(catalogue: Catalogue, comments: Mapping[tuple[str, str], str]) -> Catalogue:
    """Fill in missing comments by (table, column); the comment of a table has the column ``""``."""
    tables = []
    for table in catalogue.tables:
        columns = tuple(
            replace(column, comment=column.comment or comments.get((table.name, column.name), ""))
            for column in table.columns
        )
        tables.append(replace(table, columns=columns, comment=table.comment or comments.get((table.name, ""), "")))
    return replace(catalogue, tables=tuple(tables))


def _table_comments(statements: list[Statement]) -> dict[tuple[str, str], str]:
    return {(s.name, ""): s.comment for s in statements if s.kind == "table"}


def _all_comments(source: Catalogue) -> dict[tuple[str, str], str]:
    comments = {(table.name, ""): table.comment for table in source.tables}
    return comments | {(table.name, c.name): c.comment for table in source.tables for c in table.columns}


def _statements(connection: sqlite3.Connection) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statements of a database, and the names of its search tables and their shadow tables."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '_prisma_migrations' ORDER BY rowid"
    ).fetchall()
    search = _search_tables(rows)
    own_rows = (row for row in rows if row[1] not in search or makes_virtual(row[3]))
    return tuple(Statement(*row) for row in own_rows), search


def _search_tables(rows: list[tuple[str, str, str, str]]) -> tuple[str, ...]:
    names = {name for kind, name, _, _ in rows if kind == "table"}
    virtual = [name for kind, name, _, sql in rows if kind == "table" and makes_virtual(sql)]
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
    texts = columns(statement.sql)
    for row in connection.execute(f"PRAGMA table_xinfo({quote(statement.name)})"):
        _, name, type, not_null, default, key, hidden = row
        if hidden == 1:
            continue
        text = texts.get(name.lower(), ColumnText())
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
    # The newest comes first; implicit indexes of primary keys are left out.
    listed = connection.execute(f"PRAGMA index_list({quote(table)})").fetchall()
    for _, name, unique, origin, partial in reversed(listed):
        if origin == "pk":
            continue
        rows = [row for row in connection.execute(f"PRAGMA index_xinfo({quote(name)})") if row[5]]
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
        f"PRAGMA foreign_key_list({quote(table)})"
    ):
        parts.setdefault(id, []).append((target, column, referenced or "", on_update, on_delete))
    for id in sorted(parts, reverse=True):  # the last declared key has number 0
        rows = parts[id]
        target, _, _, on_update, on_delete = rows[0]
        references = tuple(row[2] for row in rows if row[2]) or _primary_key(connection, target)
        yield ForeignKey(tuple(row[1] for row in rows), target, references, on_delete, on_update)


def _primary_key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    rows = connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
    return tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])


class ColumnText(Value):
    """Comment and allowed values of a column."""

    comment: str = ""
    values: tuple[str, ...] = ()


def makes_virtual(sql: str) -> bool:
    return bool(_VIRTUAL.match(sql))


def columns(sql: str) -> dict[str, ColumnText]:
    """Return comment and allowed values by column name in lower case."""
    result: dict[str, ColumnText] = {}
    items = _items(sql)
    for item, comments in zip(items, _comments(items), strict=True):
        written = [token for token in item if token.lastgroup not in ("comment", "newline", "space")]
        if written:
            # Constraints come last, so a column named like one is found first.
            text = " ".join(token[0] for token in written)
            result.setdefault(_unquoted(written[0][0]).lower(), ColumnText("\n".join(comments), _allowed(text)))
    return result


def leading_comment(statement: str) -> str:
    """Return the comment right above a statement; a comment followed by an empty line is not part of it."""
    lines: list[str] = []
    for line in statement.splitlines():
        if line.startswith("--"):
            lines.append(_plain(line))
        elif line.strip():
            break
        else:
            lines.clear()
    return "\n".join(lines)


def _allowed(text: str) -> tuple[str, ...]:
    result = _VALUES.search(text)
    return tuple(value.replace("''", "'") for value in _STRING.findall(result[1])) if result else ()


def _items(sql: str) -> list[list[re.Match[str]]]:
    """Split the content of the statement's parentheses at top-level commas."""
    items: list[list[re.Match[str]]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(sql):
        depth -= token[0] == ")"
        if depth == 1 and token[0] == ",":
            items.append([])
        elif depth:
            items[-1].append(token)
        depth += token[0] == "("
    return items


def _comments(items: list[list[re.Match[str]]]) -> list[list[str]]:
    """Assign each comment to the item below it, or to the item before it on the same line, even after the comma."""
    result: list[list[str]] = [[] for _ in items]
    for place, item in enumerate(items):
        owner = max(place - 1, 0)
        for token in item:
            if token.lastgroup == "comment":
                result[owner].append(_plain(token[0]))
            elif token.lastgroup != "space":
                owner = place
    return result


def _plain(comment: str) -> str:
    if comment.startswith("--"):
        return comment[2:].strip()
    return comment[2:].removesuffix("*/").strip()


def _unquoted(name: str) -> str:
    if name[0] == "[":
        return name[1:-1]
    return name[1:-1].replace(name[0] * 2, name[0]) if name[0] in "\"'`" else name
