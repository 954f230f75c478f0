"""A JSON Schema in the part of the language that ``output_config.format`` takes.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
What is left out is told to the model in the description; the answer is checked against the whole schema here anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.stored_json import dumps

_TAKEN = {
    "type", "enum", "const", "title", "description", "default", "$ref", "$defs", "definitions",
    "anyOf", "allOf", "properties", "required", "items", "format", "minItems", "additionalProperties",
}  # fmt: skip
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf")


def reduced(schema: Any) -> Any:
    """Return the schema with closed objects and without the keywords that are refused."""
    if not isinstance(schema, Mapping):
        return schema
    source = dict(schema)
    source.pop("$schema", None)
    if "oneOf" in source and "anyOf" not in source:
        source["anyOf"] = source.pop("oneOf")
    kept = {name: _inner(name, value) for name, value in source.items() if _is_taken(name, value)}
    left = {name: value for name, value in source.items() if name not in kept}
    if kept.get("type") == "object" or "properties" in kept:
        left.pop("additionalProperties", None)
        kept["additionalProperties"] = False
    if left:
        said = [str(kept["description"])] if kept.get("description") else []
        kept["description"] = "\n\n".join([*said, dumps(left)])
    return kept


def _is_taken(name: str, value: Any) -> bool:
    if name == "format":
        return value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    return name in _TAKEN and (name != "additionalProperties" or value is False)


def _inner(name: str, value: Any) -> Any:
    if name in _MAPS and isinstance(value, Mapping):
        return {key: reduced(inner) for key, inner in value.items()}
    if name in _LISTS and isinstance(value, list | tuple):
        return [reduced(inner) for inner in value]
    return reduced(value) if name == "items" else value
