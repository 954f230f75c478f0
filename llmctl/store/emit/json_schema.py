"""Emit JSON Schema (2020-12): a definition for each record as printed by ``--json`` and ``export``.

Source: https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmctl.store.emit import naming, records
from llmctl.store.emit.dialects import Kind, value_kind
from llmctl.store.schema.introspect import Catalogue, Column, Table

_TYPES: Mapping[Kind, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "bigint": {"type": "integer"},
    "real": {"type": "number"},
    "decimal": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "json": {"type": ["object", "array"]},
    "blob": {
        "type": "object",
        "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["base64"],
    },
}
_REFERENCES = {"type": "object", "additionalProperties": {"type": "string"}}


def emit(catalogue: Catalogue, names: Mapping[str, str]) -> str:
    """Return one document; a record is at ``#/$defs/Chat``.

    Additional fields are allowed. Columns that may be NULL are optional: an export leaves NULLs out.
    """
    models = naming.model_names(catalogue.tables, names, "hub")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Records of an llmctl hub",
        "$defs": {models[table.name]: _record(records.logical_name(table, names), table) for table in catalogue.tables},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _record(logical: str, table: Table) -> dict[str, Any]:
    properties = {_key(column): _property(logical, column) for column in table.columns}
    own = {"description": table.comment} if table.comment else {}
    required = [_key(column) for column in table.columns if records.is_always_there(logical, column)]
    return {"title": table.name, **own, "type": "object", "required": required, "properties": properties}


def _key(column: Column) -> str:
    return "references" if column.name == "refs" else column.name


def _property(logical: str, column: Column) -> dict[str, Any]:
    own = {"description": column.comment} if column.comment else {}
    if column.name == "refs":
        return own | _REFERENCES
    if records.holds_json(logical, column):
        return own
    result = own | dict(_TYPES[value_kind(column)])
    if column.values:
        result["enum"] = [*column.values, None] if column.nullable else list(column.values)
    if column.nullable:
        types = result["type"]
        result["type"] = [*(types if isinstance(types, list) else [types]), "null"]
    return result
