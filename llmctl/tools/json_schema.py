"""JSON Schema: whether a value meets one, and in words why not. The only file with the validator.

https://json-schema.org; a schema without ``$schema`` is read as draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from llmctl.core.errors import UsageError

#: More than anybody reads, or a model needs to do better.
_MOST_ERRORS = 10
_MOST_CHARACTERS = 300


def errors(schema: Mapping[str, Any] | bool, value: Any) -> list[str]:
    """Return what is wrong with a value, a line each, with its place (``/days/0: "x" is not of type "integer"``).

    An empty list means that it meets the schema. Raises UsageError for a schema that is none itself. Nothing is
    fetched: a ``$ref`` may only point into the schema.
    """
    return [_line(error) for error, _ in zip(_found(schema, value), range(_MOST_ERRORS), strict=False)]


def check(schema: Any) -> None:
    """Raise UsageError where a value is no JSON Schema."""
    if not isinstance(schema, dict | bool):
        raise UsageError("a JSON Schema is an object", hint='such as {"type": "object", "properties": {}}')
    _validator(schema)


def _found(schema: Mapping[str, Any] | bool, value: Any) -> list[jsonschema_rs.ValidationError]:
    try:
        return list(_validator(schema).iter_errors(value))
    except (ValueError, RecursionError) as error:  # deeper than the library goes
        raise UsageError(f"the value cannot be checked: {error}") from None


def _validator(schema: Mapping[str, Any] | bool) -> Any:
    plain = schema if isinstance(schema, bool) else dict(schema)
    try:
        # A pattern comes from whoever wrote the schema: without a limit one could be made to run for ever.
        return jsonschema_rs.validator_for(
            plain, retriever=_nothing, pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise UsageError(f"this is no JSON Schema: {_short(str(error).partition(chr(10))[0])}") from None


def _nothing(uri: str) -> Any:
    raise ValueError(f'"{uri}" is outside of the schema')


def _line(error: jsonschema_rs.ValidationError) -> str:
    place = "".join(f"/{step}" for step in error.instance_path)
    return f"{place}: {_short(error.message)}" if place else _short(error.message)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
