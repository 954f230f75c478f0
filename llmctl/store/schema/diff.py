"""Compares a hub with the schema: by SQLite's catalogue, so that how a statement is written does not matter.

What users built beside our tables (tables, views) is theirs and no difference; on our tables, all is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from llmctl.store.schema.introspect import Catalogue, Column, ForeignKey, Index, Statement, Table


class Difference(NamedTuple):
    """Something that a hub lacks, has beside what it should have, or has otherwise."""

    kind: Literal["missing", "extra", "changed"]
    table: str
    #: table, column, key, index, foreign key, trigger, view, search table.
    what: str
    name: str
    detail: str = ""


def compare(
    found: Catalogue,
    expected: Catalogue,
    names: Mapping[str, str],
    fields: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Difference]:
    """Return how a hub differs from what its schema should be under its own table names; nothing where it does not.

    ``fields`` are the columns that the user added, by our table names: they belong to it, and indexes on them may.
    """
    custom = {names.get(table, table): set(columns) for table, columns in (fields or {}).items()}
    differences: list[Difference] = []
    for table in expected.tables:
        own = found.find(table.name)
        if own is None:
            differences.append(Difference("missing", table.name, "table", table.name))
        else:
            differences += _in_table(own, table, custom.get(table.name, set()))
    return [*differences, *_code(found, expected)]


def _in_table(found: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    yield from _columns(found, expected, custom)
    if found.key != expected.key:
        detail = f"({', '.join(found.key)}) instead of ({', '.join(expected.key)})"
        yield Difference("changed", expected.name, "key", "primary key", detail)
    yield from _indexes(found, expected, custom)
    yield from _foreign_keys(found, expected, custom)


def _columns(found: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    theirs = {column.name: column for column in found.columns}
    ours = {column.name: column for column in expected.columns}
    for name, column in ours.items():
        if name not in theirs:
            yield Difference("missing", expected.name, "column", name, column.type)
        elif detail := ", ".join(_otherwise(theirs[name], column)):
            yield Difference("changed", expected.name, "column", name, detail)
    for name in sorted(custom - theirs.keys()):
        yield Difference("missing", expected.name, "column", name, "added by the user")
    for name, column in theirs.items():
        if name not in ours and name not in custom:
            yield Difference("extra", expected.name, "column", name, column.type)


def _otherwise(found: Column, expected: Column) -> Iterator[str]:
    if found.type.upper() != expected.type.upper():
        yield f"type {found.type or 'none'} instead of {expected.type}"
    if found.nullable != expected.nullable:
        yield "may be NULL" if found.nullable else "may not be NULL"
    if _plain(found.default) != _plain(expected.default):
        yield f"default {found.default or 'none'} instead of {expected.default or 'none'}"


def _indexes(found: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    """Compare by what an index is on: the name makes no difference to anyone."""
    theirs = {_shape(index): index for index in found.indexes}
    ours = {_shape(index): index for index in expected.indexes}
    for shape, index in ours.items():
        if shape not in theirs:
            yield Difference("missing", expected.name, "index", index.name, _told(index))
    for shape, index in theirs.items():
        if shape not in ours and not custom & set(index.columns):
            yield Difference("extra", expected.name, "index", index.name, _told(index))


def _shape(index: Index) -> tuple[tuple[str, ...], bool, bool, frozenset[str]]:
    return index.columns, index.unique, index.partial, index.descending


def _told(index: Index) -> str:
    return f"{'unique ' if index.unique else ''}on ({', '.join(name or 'an expression' for name in index.columns)})"


def _foreign_keys(found: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    theirs = {key.columns: key for key in found.foreign_keys}
    ours = {key.columns: key for key in expected.foreign_keys}
    for columns, key in ours.items():
        name = ", ".join(columns)
        if columns not in theirs:
            yield Difference("missing", expected.name, "foreign key", name, _target(key))
        elif _target(theirs[columns]).lower() != _target(key).lower():
            detail = f"{_target(theirs[columns])} instead of {_target(key)}"
            yield Difference("changed", expected.name, "foreign key", name, detail)
    for columns, key in theirs.items():
        if columns not in ours and not custom & set(columns):
            yield Difference("extra", expected.name, "foreign key", ", ".join(columns), _target(key))


def _target(key: ForeignKey) -> str:
    return f"{key.table} ({', '.join(key.references)}) on delete {key.on_delete} on update {key.on_update}"


def _code(found: Catalogue, expected: Catalogue) -> Iterator[Difference]:
    """Compare triggers, views and search tables: they are code, and made from our own words only."""
    theirs = {(statement.kind, statement.name): statement for statement in found.statements}
    ours = {(s.kind, s.name): s for s in expected.statements if _is_code(s, expected)}
    for place, statement in ours.items():
        what = "search table" if statement.kind == "table" else statement.kind
        if place not in theirs:
            yield Difference("missing", statement.table, what, statement.name)
        elif _plain(theirs[place].sql) != _plain(statement.sql):
            yield Difference("changed", statement.table, what, statement.name, "is not what this version makes")
    tables = {table.name for table in expected.tables}
    for place, statement in theirs.items():
        if statement.kind == "trigger" and place not in ours and statement.table in tables:
            yield Difference("extra", statement.table, "trigger", statement.name)


def _is_code(statement: Statement, catalogue: Catalogue) -> bool:
    return statement.kind in ("trigger", "view") or statement.name in catalogue.search_tables


def _plain(sql: str | None) -> str:
    return " ".join((sql or "").split())
