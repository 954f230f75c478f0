"""Emits ``schema.prisma``: the same tables, under the hub's names or under those of ``@node-llm/orm``.

The text is what ``prisma format`` would make of it. Views and triggers have no place in it; search tables are named
in ``prisma.config.ts`` (see ``prisma_config``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from llmctl.store.emit.dialects import Provider, short
from llmctl.store.emit.naming import Dress
from llmctl.store.emit.prisma_types import default, native, scalar, string
from llmctl.store.emit.relations import Relation, Schema, describe
from llmctl.store.schema.introspect import Catalogue, Column, Index, Table

_ACTIONS = {
    "CASCADE": "Cascade",
    "SET NULL": "SetNull",
    "SET DEFAULT": "SetDefault",
    "RESTRICT": "Restrict",
    "NO ACTION": "NoAction",
}


class _Field(NamedTuple):
    """A line of a model: name, type, attributes; and the comment above it."""

    name: str
    type: str
    attributes: str
    comment: str = ""


def emit(
    catalogue: Catalogue,
    names: Mapping[str, str],
    *,
    dress: Dress = "hub",
    provider: Provider = "sqlite",
    major: Literal[6, 7] = 7,
    url: str | None = None,
) -> str:
    """Return ``schema.prisma`` for Prisma 6 or 7.

    ``names`` maps our table names to the hub's. Prisma 6 wants the address of the database in this file: ``url``,
    or else what ``DATABASE_URL`` says.
    """
    schema = describe(catalogue, names, dress, provider)
    blocks = [_header(provider, major, url), *(_model(schema, table) for table in catalogue.tables)]
    return "\n".join(blocks)


def _header(provider: Provider, major: Literal[6, 7], url: str | None) -> str:
    address = string(url) if url else 'env("DATABASE_URL")'
    source = [("provider", f'"{provider}"'), *([("url", address)] if major == 6 else [])]
    width = max(len(name) for name, _ in source)
    lines = "".join(f"  {name.ljust(width)} = {value}\n" for name, value in source)
    return f'generator client {{\n  provider = "prisma-client-js"\n}}\n\ndatasource db {{\n{lines}}}\n'


def _model(schema: Schema, table: Table) -> str:
    own = [_field(schema, table, column) for column in table.columns]
    relations = [_forward(schema, table, r) for r in schema.relations if r.table == table.name]
    relations += [_backward(schema, r) for r in schema.relations if r.key.table.lower() == table.name.lower()]
    parts = [_aligned(own), _aligned(relations), "".join(f"  {line}\n" for line in _attributes(schema, table))]
    body = "\n".join(part for part in parts if part)
    return f"{_comment(table.comment)}model {schema.models[table.name]} {{\n{body}}}\n"


def _field(schema: Schema, table: Table, column: Column) -> _Field:
    name = schema.fields[table.name][column.name]
    kind = scalar(column, schema.provider)
    attributes = [
        "@id" if table.key == (column.name,) else "",
        *(_unique(index, schema) for index in table.indexes if index.unique and index.columns == (column.name,)),
        default(table, column, schema.provider),
        "@updatedAt" if column.name == "updated_at" and kind == "DateTime" else "",
        f"@map({string(column.name)})" if name != column.name else "",
        native(table, column, schema.provider),
    ]
    return _Field(name, kind + "?" * column.nullable, " ".join(filter(None, attributes)), column.comment)


def _unique(index: Index, schema: Schema) -> str:
    return f"@unique({_map(index, schema)})" if index.is_plain and not index.descending else ""


def _forward(schema: Schema, table: Table, relation: Relation) -> _Field:
    key = relation.key
    target = next(name for name in schema.models if name.lower() == key.table.lower())
    arguments = [
        string(relation.name) if relation.name else "",
        f"fields: [{', '.join(schema.fields[table.name][column] for column in key.columns)}]",
        f"references: [{', '.join(schema.fields[target][column] for column in key.references)}]",
        f"onDelete: {_ACTIONS[key.on_delete]}",
        f"onUpdate: {_ACTIONS[key.on_update]}" if key.on_update != "CASCADE" else "",
    ]
    optional = any(table.column(column).nullable for column in key.columns)
    return _Field(
        relation.forward, schema.models[target] + "?" * optional, f"@relation({', '.join(filter(None, arguments))})"
    )


def _backward(schema: Schema, relation: Relation) -> _Field:
    kind = schema.models[relation.table] + ("[]" if relation.many else "?")
    return _Field(relation.backward, kind, f"@relation({string(relation.name)})" if relation.name else "")


def _attributes(schema: Schema, table: Table) -> Iterator[str]:
    fields = schema.fields[table.name]
    if len(table.key) > 1:
        yield f"@@id([{', '.join(fields[column] for column in table.key)}])"
    for index in table.indexes:
        alone = len(index.columns) == 1 and not index.descending
        if index.is_plain and not (index.unique and alone):
            columns = [fields[c] + ("(sort: Desc)" if c in index.descending else "") for c in index.columns]
            yield f"@@{'unique' if index.unique else 'index'}([{', '.join(columns)}], {_map(index, schema)})"
    if schema.models[table.name] != table.name:
        yield f"@@map({string(table.name)})"
    if not _is_usable(table):
        yield "@@ignore"


def _map(index: Index, schema: Schema) -> str:
    return f"map: {string(short(index.name, schema.provider))}"


def _is_usable(table: Table) -> bool:
    """Tell whether a row can be found by a key that is never NULL; Prisma's client leaves other tables out."""
    keys = [table.key, *(index.columns for index in table.indexes if index.unique and index.is_plain)]
    return any(key and not any(table.column(name).nullable for name in key) for key in keys)


def _aligned(fields: list[_Field]) -> str:
    """Return the lines with their columns padded, as ``prisma format`` does."""
    names = max((len(field.name) for field in fields), default=0)
    types = max((len(field.type) for field in fields), default=0)
    lines = []
    for field in fields:
        line = f"  {field.name.ljust(names)} {field.type.ljust(types)} {field.attributes}"
        lines.append(_comment(field.comment, "  ") + line.rstrip() + "\n")
    return "".join(lines)


def _comment(text: str, margin: str = "") -> str:
    return "".join(f"{margin}/// {line}".rstrip() + "\n" for line in text.splitlines())
