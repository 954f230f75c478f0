"""JSON Schemas of answers: OpenAI's strict mode, and instructions for hosts without schema support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmctl.core.messages import Message, Text
from llmctl.core.stored_json import dumps


def is_strict(schema: Any) -> bool:
    """Return whether OpenAI's strict mode accepts the schema: every object is closed and requires all its properties.

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


_INSTRUCTION = (
    "Answer with one JSON document and nothing else: no fence, no explanation. It must meet this JSON Schema:\n"
)


def append_schema_instruction(messages: tuple[Message, ...], schema: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages with the schema appended to the system prompt, which is created if missing.

    Hosts that only guarantee an object require the word "JSON" in the prompt:
    https://api-docs.deepseek.com/guides/json_mode
    """
    instruction = Text(_INSTRUCTION + dumps(schema))
    if messages and messages[0].role == "system":
        first = messages[0]
        return (replace(first, parts=(*first.parts, Text("\n\n"), instruction)), *messages[1:])
    return (Message("system", (instruction,)), *messages)
