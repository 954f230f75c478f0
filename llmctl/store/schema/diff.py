"""Compare a hub with the schema by SQLite's catalogue, so that the formatting of statements does not matter.

Other tables and views of the user are ignored; on llmctl's tables everything is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from llmctl.core.values import Value
from llmctl.store.schema.introspect import Catalogue, Column, ForeignKey, Index, Statement, Table

_UNIQUE = "unique "


class Difference(Value):
    """Something missing, extra or changed in a hub."""

    kind: Literal["missing", "extra", "changed"]
    table: str
    #: table, column, key, index, foreign key, trigger, view, search table.
    what: str
    name: str
    detail: str = ""


def is_own_index(difference: Difference) -> bool:
    """Return whether a difference is an index of the user's: one that is not unique refuses no row."""
    return (difference.kind, difference.what) == ("extra", "index") and not difference.detail.startswith(_UNIQUE)


def compare(
    current: Catalogue,
    expected: Catalogue,
    names: Mapping[str, str],
    fields: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Difference]:
    """Return the differences between a hub and the expected schema under the hub's table names.

    ``fields`` are the custom columns by logical table name: they are expected, and may be indexed.
    """
    custom = {names.get(table, table): set(columns) for table, columns in (fields or {}).items()}
    differences: list[Difference] = []
    for table in expected.tables:
        own = current.find(table.name)
        if own is None:
            differences.append(Difference("missing", table.name, "table", table.name))
        else:
            differences += _compare_table(own, table, custom.get(table.name, set()))
    return [*differences, *_compare_code(current, expected)]


def _compare_table(current: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    yield from _compare_columns(current, expected, custom)
    if current.key != expected.key:
        detail = f"({', '.join(current.key)}) instead of ({', '.join(expected.key)})"
        yield Difference("changed", expected.name, "key", "primary key", detail)
    yield from _compare_indexes(current, expected, custom)
    yield from _compare_foreign_keys(current, expected, custom)


def _compare_columns(current: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    actual = {column.name: column for column in current.columns}
    wanted = {column.name: column for column in expected.columns}
    for name, column in wanted.items():
        if name not in actual:
            yield Difference("missing", expected.name, "column", name, column.type)
        elif detail := ", ".join(_column_changes(actual[name], column)):
            yield Difference("changed", expected.name, "column", name, detail)
    for name in sorted(custom - actual.keys()):
        yield Difference("missing", expected.name, "column", name, "added by the user")
    for name, column in actual.items():
        if name not in wanted and name not in custom:
            yield Difference("extra", expected.name, "column", name, column.type)


def _column_changes(current: Column, expected: Column) -> Iterator[str]:
    if current.type.upper() != expected.type.upper():
        yield f"type {current.type or 'none'} instead of {expected.type}"
    if current.nullable != expected.nullable:
        yield "may be NULL" if current.nullable else "may not be NULL"
    if _normalize_space(current.default) != _normalize_space(expected.default):
        yield f"default {current.default or 'none'} instead of {expected.default or 'none'}"


def _compare_indexes(current: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    """Compare indexes by their columns; names do not matter."""
    actual = {_index_key(index): index for index in current.indexes}
    wanted = {_index_key(index): index for index in expected.indexes}
    for shape, index in wanted.items():
        if shape not in actual:
            yield Difference("missing", expected.name, "index", index.name, _describe_index(index))
    for shape, index in actual.items():
        if shape not in wanted and not custom & set(index.columns):
            yield Difference("extra", expected.name, "index", index.name, _describe_index(index))


def _index_key(index: Index) -> tuple[tuple[str, ...], bool, bool, frozenset[str]]:
    return index.columns, index.unique, index.partial, index.descending


def _describe_index(index: Index) -> str:
    return f"{_UNIQUE if index.unique else ''}on ({', '.join(name or 'an expression' for name in index.columns)})"


def _compare_foreign_keys(current: Table, expected: Table, custom: set[str]) -> Iterator[Difference]:
    actual = {key.columns: key for key in current.foreign_keys}
    wanted = {key.columns: key for key in expected.foreign_keys}
    for columns, key in wanted.items():
        name = ", ".join(columns)
        if columns not in actual:
            yield Difference("missing", expected.name, "foreign key", name, _describe_target(key))
        elif _describe_target(actual[columns]).lower() != _describe_target(key).lower():
            detail = f"{_describe_target(actual[columns])} instead of {_describe_target(key)}"
            yield Difference("changed", expected.name, "foreign key", name, detail)
    for columns, key in actual.items():
        if columns not in wanted and not custom & set(columns):
            yield Difference("extra", expected.name, "foreign key", ", ".join(columns), _describe_target(key))


def _describe_target(key: ForeignKey) -> str:
    return f"{key.table} ({', '.join(key.references)}) on delete {key.on_delete} on update {key.on_update}"


def _compare_code(current: Catalogue, expected: Catalogue) -> Iterator[Difference]:
    """Compare triggers, views and search tables by their SQL text: only llmctl creates them."""
    actual = {(statement.kind, statement.name): statement for statement in current.statements}
    wanted = {(s.kind, s.name): s for s in expected.statements if _is_code(s, expected)}
    for place, statement in wanted.items():
        what = "search table" if statement.kind == "table" else statement.kind
        if place not in actual:
            yield Difference("missing", statement.table, what, statement.name)
        elif _normalize_space(actual[place].sql) != _normalize_space(statement.sql):
            yield Difference("changed", statement.table, what, statement.name, "differs from this version's")
    tables = {table.name for table in expected.tables}
    for place, statement in actual.items():
        if statement.kind == "trigger" and place not in wanted and statement.table in tables:
            yield Difference("extra", statement.table, "trigger", statement.name)


def _is_code(statement: Statement, catalogue: Catalogue) -> bool:
    return statement.kind in ("trigger", "view") or statement.name in catalogue.search_tables


def _normalize_space(sql: str | None) -> str:
    return " ".join((sql or "").split())
