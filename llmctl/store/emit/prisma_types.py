"""Types and defaults of columns in Prisma's words, for each database it knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmctl.store.emit.dialects import VARCHAR, Kind, Provider, kind, limits
from llmctl.store.schema.introspect import Column, Table

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
#: Declared types that Prisma knows on SQLite, beside those with "char" in them and numerics of any precision.
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


def scalar(column: Column, provider: Provider) -> str:
    """Return the type of a field, without the mark for what may be missing."""
    declared = column.type.lower()
    known = declared in _KNOWN or "char" in declared or declared.startswith(("numeric", "decimal"))
    return _SCALARS[kind(column)] if known or provider != "sqlite" else f"Unsupported({string(declared)})"


def native(table: Table, column: Column, provider: Provider) -> str:
    """Return the attribute that chooses the database's own type, where Prisma's choice does not do."""
    type = scalar(column, provider)
    if provider == "mysql" and type == "String":
        # Prisma's own choice is VARCHAR(191): too short for text, and for seven of them in one key too long.
        limit = limits(table).get(column.name)
        if limit is None:
            return "@db.LongText"
        return "" if limit == VARCHAR else f"@db.VarChar({limit})"
    return _NATIVE[provider].get(type, "")


def default(table: Table, column: Column, provider: Provider) -> str:
    """Return the ``@default`` of a field, or nothing."""
    type = scalar(column, provider)
    if table.key == (column.name,) and type == "Int":
        return "@default(autoincrement())"
    if table.key == (column.name,) == ("id",) and type == "String":
        return "@default(uuid())"
    value = _value(column, type, provider)
    if value and native(table, column, provider) == "@db.LongText":
        # MySQL takes an expression here, but no literal.
        value = f"dbgenerated({string(f'({column.default})')})"
    return f"@default({value})" if value else ""


def string(text: str) -> str:
    """Return a literal of Prisma's language."""
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
        return string(literal[1].replace("''", "'"))
    if type == "Boolean" and text.lower() in ("true", "false", "0", "1"):
        return "true" if text.lower() in ("true", "1") else "false"
    if type in ("Int", "BigInt", "Float", "Decimal") and _NUMBER.fullmatch(text):
        return text
    if type == "DateTime" and (text.upper() == "CURRENT_TIMESTAMP" or provider != "sqlite"):
        return "now()"
    return f"dbgenerated({string(text)})" if provider == "sqlite" else ""
