"""Emit ``schema.prisma``: the tables under the hub's model names or those of ``@node-llm/orm``.

The text is formatted like ``prisma format`` does. Views and triggers are left out. Prisma does not support full-text
search on SQLite and would offer to drop its tables: ``prisma.config.ts`` lists them (see :func:`emit_config`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from llmctl.core.values import Value
from llmctl.store.emit.dialects import VARCHAR, Kind, Provider, shorten_name, text_limits, value_kind
from llmctl.store.emit.naming import ModelSchema, NamingStyle, Relation, build_models
from llmctl.store.schema.introspect import Catalogue, Column, Index, Table

_ACTIONS = {
    "CASCADE": "Cascade",
    "SET NULL": "SetNull",
    "SET DEFAULT": "SetDefault",
    "RESTRICT": "Restrict",
    "NO ACTION": "NoAction",
}
_SCALARS: Mapping[Kind, str] = {
    "text": "String",
    "integer": "Int",
    "bigint": "BigInt",
    "real": "Float",
    "decimal": "Decimal",
    "boolean": "Boolean",
    "datetime": "DateTime",
    "json": "Json",
    "blob": "Bytes",
}
#: Declared types that Prisma supports on SQLite, besides those with "char" and numerics of any precision.
_KNOWN = (
    *("int", "integer", "serial", "bigint", "float", "real", "double", "date", "datetime", "timestamp"),
    *("blob", "binary", "boolean", "jsonb", "text"),
)
_NATIVE: Mapping[Provider, Mapping[str, str]] = {
    "sqlite": {},
    "postgresql": {"DateTime": "@db.Timestamptz(3)"},
    "mysql": {"DateTime": "@db.DateTime(3)"},
}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_STRING = re.compile(r"'((?:[^']|'')*)'", re.DOTALL)


class _Field(Value):
    """A line of a model: name, type, attributes; and the comment above it."""

    name: str
    type: str
    attributes: str
    comment: str = ""


def emit(
    catalogue: Catalogue,
    names: Mapping[str, str],
    *,
    dress: NamingStyle = "hub",
    provider: Provider = "sqlite",
    major: Literal[6, 7] = 7,
    url: str | None = None,
) -> str:
    """Return ``schema.prisma`` for Prisma 6 or 7.

    ``names`` maps logical table names to the hub's. Prisma 6 needs the URL of the database in this file: ``url``,
    or the variable ``DATABASE_URL``.
    """
    schema = build_models(catalogue, names, dress, provider)
    blocks = [_header(provider, major, url), *(_model(schema, table) for table in catalogue.tables)]
    return "\n".join(blocks)


def _header(provider: Provider, major: Literal[6, 7], url: str | None) -> str:
    address = quote_string(url) if url else 'env("DATABASE_URL")'
    source = [("provider", f'"{provider}"'), *([("url", address)] if major == 6 else [])]
    width = max(len(name) for name, _ in source)
    lines = "".join(f"  {name.ljust(width)} = {value}\n" for name, value in source)
    return f'generator client {{\n  provider = "prisma-client-js"\n}}\n\ndatasource db {{\n{lines}}}\n'


def _model(schema: ModelSchema, table: Table) -> str:
    own = [_field(schema, table, column) for column in table.columns]
    relations = [_forward_field(schema, table, r) for r in schema.relations if r.table == table.name]
    relations += [_backward_field(schema, r) for r in schema.relations if r.key.table.lower() == table.name.lower()]
    parts = [_align(own), _align(relations), "".join(f"  {line}\n" for line in _attributes(schema, table))]
    body = "\n".join(part for part in parts if part)
    return f"{_comment(table.comment)}model {schema.models[table.name]} {{\n{body}}}\n"


def _field(schema: ModelSchema, table: Table, column: Column) -> _Field:
    name = schema.fields[table.name][column.name]
    kind = scalar_type(column, schema.provider)
    attributes = [
        "@id" if table.key == (column.name,) else "",
        *(_unique(index, schema) for index in table.indexes if index.unique and index.columns == (column.name,)),
        default_attribute(table, column, schema.provider),
        "@updatedAt" if column.name == "updated_at" and kind == "DateTime" else "",
        f"@map({quote_string(column.name)})" if name != column.name else "",
        native_type(table, column, schema.provider),
    ]
    return _Field(name, kind + "?" * column.nullable, " ".join(filter(None, attributes)), column.comment)


def _unique(index: Index, schema: ModelSchema) -> str:
    return f"@unique({_map_argument(index, schema)})" if index.is_plain and not index.descending else ""


def _forward_field(schema: ModelSchema, table: Table, relation: Relation) -> _Field:
    key = relation.key
    target = next(name for name in schema.models if name.lower() == key.table.lower())
    arguments = [
        quote_string(relation.name) if relation.name else "",
        f"fields: [{', '.join(schema.fields[table.name][column] for column in key.columns)}]",
        f"references: [{', '.join(schema.fields[target][column] for column in key.references)}]",
        f"onDelete: {_ACTIONS[key.on_delete]}",
        f"onUpdate: {_ACTIONS[key.on_update]}" if key.on_update != "CASCADE" else "",
    ]
    optional = any(table.column(column).nullable for column in key.columns)
    return _Field(
        relation.forward, schema.models[target] + "?" * optional, f"@relation({', '.join(filter(None, arguments))})"
    )


def _backward_field(schema: ModelSchema, relation: Relation) -> _Field:
    kind = schema.models[relation.table] + ("[]" if relation.many else "?")
    return _Field(relation.backward, kind, f"@relation({quote_string(relation.name)})" if relation.name else "")


def _attributes(schema: ModelSchema, table: Table) -> Iterator[str]:
    fields = schema.fields[table.name]
    if len(table.key) > 1:
        yield f"@@id([{', '.join(fields[column] for column in table.key)}])"
    for index in table.indexes:
        alone = len(index.columns) == 1 and not index.descending
        if index.is_plain and not (index.unique and alone):
            columns = [fields[c] + ("(sort: Desc)" if c in index.descending else "") for c in index.columns]
            yield f"@@{'unique' if index.unique else 'index'}([{', '.join(columns)}], {_map_argument(index, schema)})"
    if schema.models[table.name] != table.name:
        yield f"@@map({quote_string(table.name)})"
    if not _is_usable(table):
        yield "@@ignore"


def _map_argument(index: Index, schema: ModelSchema) -> str:
    return f"map: {quote_string(shorten_name(index.name, schema.provider))}"


def _is_usable(table: Table) -> bool:
    """Return whether rows have a key that is never NULL; Prisma's client ignores other tables."""
    keys = [table.key, *(index.columns for index in table.indexes if index.unique and index.is_plain)]
    return any(key and not any(table.column(name).nullable for name in key) for key in keys)


def _align(fields: list[_Field]) -> str:
    """Return the lines with padded columns, as ``prisma format`` does."""
    names = max((len(field.name) for field in fields), default=0)
    types = max((len(field.type) for field in fields), default=0)
    lines = []
    for field in fields:
        line = f"  {field.name.ljust(names)} {field.type.ljust(types)} {field.attributes}"
        lines.append(_comment(field.comment, "  ") + line.rstrip() + "\n")
    return "".join(lines)


def _comment(text: str, margin: str = "") -> str:
    return "".join(f"{margin}/// {line}".rstrip() + "\n" for line in text.splitlines())


def scalar_type(column: Column, provider: Provider) -> str:
    """Return the type of a field, without the mark of optional fields."""
    declared = column.type.lower()
    known = declared in _KNOWN or "char" in declared or declared.startswith(("numeric", "decimal"))
    return _SCALARS[value_kind(column)] if known or provider != "sqlite" else f"Unsupported({quote_string(declared)})"


def native_type(table: Table, column: Column, provider: Provider) -> str:
    """Return the native type attribute, where Prisma's default type does not fit."""
    type = scalar_type(column, provider)
    if provider == "mysql" and type == "String":
        # Prisma's default VARCHAR(191) is too short for text, and too long for seven columns in one key.
        limit = text_limits(table).get(column.name)
        if limit is None:
            return "@db.LongText"
        return "" if limit == VARCHAR else f"@db.VarChar({limit})"
    return _NATIVE[provider].get(type, "")


def default_attribute(table: Table, column: Column, provider: Provider) -> str:
    """Return the ``@default`` attribute of a field, or an empty string."""
    type = scalar_type(column, provider)
    if table.key == (column.name,) and type == "Int":
        return "@default(autoincrement())"
    if table.key == (column.name,) == ("id",) and type == "String":
        return "@default(uuid())"
    value = _value(column, type, provider)
    if value and native_type(table, column, provider) == "@db.LongText":
        # MySQL accepts an expression here, but no literal.
        value = f"dbgenerated({quote_string(f'({column.default})')})"
    return f"@default({value})" if value else ""


def quote_string(text: str) -> str:
    """Return a Prisma string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for character, escape in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(character, escape)
    return f'"{escaped}"'


def _value(column: Column, type: str, provider: Provider) -> str:
    text = column.default
    if text is None or text.upper() == "NULL":
        return ""
    literal = _STRING.fullmatch(text)
    if literal and type in ("String", "Json"):
        return quote_string(literal[1].replace("''", "'"))
    if type == "Boolean" and text.lower() in ("true", "false", "0", "1"):
        return "true" if text.lower() in ("true", "1") else "false"
    if type in ("Int", "BigInt", "Float", "Decimal") and _NUMBER.fullmatch(text):
        return text
    if type == "DateTime" and (text.upper() == "CURRENT_TIMESTAMP" or provider != "sqlite"):
        return "now()"
    return f"dbgenerated({quote_string(text)})" if provider == "sqlite" else ""


def emit_config(
    catalogue: Catalogue,
    *,
    url: str | None = None,
    provider: Provider = "sqlite",
    schema: str = "schema.prisma",
) -> str:
    """Return ``prisma.config.ts``; ``schema`` is the path of the schema from its folder.

    ``url`` is the URL of the database, such as ``file:/home/me/hub.db``; without it ``DATABASE_URL`` is read.
    """
    env = "" if url else ", env"
    address = json.dumps(url, ensure_ascii=False) if url else 'env("DATABASE_URL")'
    external = catalogue.search_tables if provider == "sqlite" else ()
    return (
        f'import {{ defineConfig{env} }} from "prisma/config";\n\n'
        "export default defineConfig({\n"
        f"  schema: {json.dumps(schema, ensure_ascii=False)},\n"
        f"{_external_tables(external)}"
        f"  datasource: {{\n    url: {address},\n  }},\n"
        "});\n"
    )


def _external_tables(tables: tuple[str, ...]) -> str:
    if not tables:
        return ""
    listed = "".join(f"      {json.dumps(name, ensure_ascii=False)},\n" for name in tables)
    return (
        "  // Full-text search: SQLite's own tables, which Prisma neither reads nor changes.\n"
        "  experimental: {\n    externalTables: true,\n  },\n"
        f"  tables: {{\n    external: [\n{listed}    ],\n  }},\n"
    )
