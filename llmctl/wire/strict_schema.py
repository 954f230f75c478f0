"""Which JSON Schemas OpenAI's strict mode takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: each object is closed and requires all it names.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    if isinstance(schema, list | tuple):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        closed = schema.get("additionalProperties") is False
        if not closed or set(properties) != set(schema.get("required") or ()):
            return False
        return all(is_strict(value) for value in properties.values())
    if schema.get("type") == "object":
        return schema.get("additionalProperties") is False
    return all(is_strict(value) for name, value in schema.items() if name not in ("enum", "const", "default"))
