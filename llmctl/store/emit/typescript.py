"""Emit TypeScript: an interface for each record as printed by ``--json`` and ``export``."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.store.emit import naming
from llmctl.store.emit.dialects import Kind, value_kind
from llmctl.store.emit.typescript_syntax import doc_comment, property_name, union
from llmctl.store.schema.introspect import Catalogue, Column, Table

_HEADER = """\
// Records of a hub as JSON. Times are RFC 3339; money is in US dollars.

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
    "blob": "string",
}


def emit(catalogue: Catalogue, names: Mapping[str, str]) -> str:
    """Return a module of interfaces, and ``Tables``, which maps tables to them; ``names`` are the hub's."""
    models = naming.model_names(catalogue.tables, names, "hub")
    blocks = [_HEADER, *(_interface(models[table.name], table) for table in catalogue.tables)]
    rows = "".join(f"  {property_name(table.name)}: {models[table.name]};\n" for table in catalogue.tables)
    blocks.append(f"/** The record of each table. */\nexport interface Tables {{\n{rows}}}\n")
    return "\n".join(blocks)


def _interface(model: str, table: Table) -> str:
    fields = "".join(doc_comment(column.comment, "  ") + _field(column) for column in table.columns)
    return f"{doc_comment(table.comment)}export interface {model} {{\n{fields}}}\n"


def _field(column: Column) -> str:
    if column.name == "refs":
        return "  references: Record<string, string>;\n"
    type = union(column.values) if column.values else _TYPES[value_kind(column)]
    return f"  {property_name(column.name)}: {type}{' | null' if column.nullable else ''};\n"
