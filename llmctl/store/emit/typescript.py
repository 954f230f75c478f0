"""Emit TypeScript: an interface for each record as printed by ``--json`` and ``export``; syntax for other emitters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from llmctl.store.emit import naming, records
from llmctl.store.emit.dialects import Kind, value_kind
from llmctl.store.schema.introspect import Catalogue, Column, Table

_HEADER = """\
// Records of a hub as JSON. Times are RFC 3339; money is in US dollars. Exports leave out what is null.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
"""
_TYPES: Mapping[Kind, str] = {
    "text": "string",
    "integer": "number",
    "bigint": "number",
    "real": "number",
    "decimal": "number",
    "boolean": "boolean",
    "datetime": "string",
    "json": "Json",
    "blob": "{ base64: string }",
}


def emit(catalogue: Catalogue, names: Mapping[str, str]) -> str:
    """Return a module of interfaces, and ``Tables``, which maps tables to them; ``names`` are the hub's."""
    models = naming.model_names(catalogue.tables, names, "hub")
    blocks = [
        _HEADER,
        *(_interface(models[table.name], records.logical_name(table, names), table) for table in catalogue.tables),
    ]
    rows = "".join(f"  {property_name(table.name)}: {models[table.name]};\n" for table in catalogue.tables)
    blocks.append(f"/** The record of each table. */\nexport interface Tables {{\n{rows}}}\n")
    return "\n".join(blocks)


def _interface(model: str, logical: str, table: Table) -> str:
    fields = "".join(doc_comment(column.comment, "  ") + _field(logical, column) for column in table.columns)
    return f"{doc_comment(table.comment)}export interface {model} {{\n{fields}}}\n"


def _field(logical: str, column: Column) -> str:
    if column.name == "refs":
        return "  references: Record<string, string>;\n"
    type = union(column.values) if column.values else _TYPES[value_kind(column)]
    if records.holds_json(logical, column):
        type = "Json"
    mark = "" if records.is_always_there(logical, column) else "?"
    return f"  {property_name(column.name)}{mark}: {type}{' | null' if column.nullable else ''};\n"


# --- syntax


_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def quote_string(text: str) -> str:
    """Return a string literal with all line ends escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def escape_template(text: str) -> str:
    """Return a text escaped for a template literal."""
    return text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")


def property_name(name: str) -> str:
    """Return a name as an object key, quoted if necessary."""
    return name if _IDENTIFIER.fullmatch(name) else quote_string(name)


def doc_comment(text: str, margin: str = "") -> str:
    """Return a doc comment for a declaration, or an empty string."""
    lines = text.replace("*/", "*\\/").splitlines()
    if len(lines) < 2:
        return f"{margin}/** {lines[0]} */\n" if lines else ""
    return f"{margin}/**\n" + "".join(f"{margin} * {line}".rstrip() + "\n" for line in lines) + f"{margin} */\n"


def union(values: tuple[str, ...]) -> str:
    """Return a union of string literals."""
    return " | ".join(map(quote_string, values))
