"""JSON Schema validation with readable errors. The only file that imports the validator.

https://json-schema.org; a schema without ``$schema`` is read as draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from llmctl.core.errors import UsageError

#: More than a person reads, or a model needs to correct itself.
_MAX_ERRORS = 10
_MAX_ERROR_CHARS = 300


def find_errors(schema: Mapping[str, Any] | bool, value: Any) -> list[str]:
    """Return one line per validation error, with its path (``/days/0: "x" is not of type "integer"``).

    An empty list means that the value is valid. Raises UsageError for an invalid schema. Nothing is fetched: a
    ``$ref`` may only point into the schema itself.
    """
    return [_format_error(error) for error, _ in zip(_iterate_errors(schema, value), range(_MAX_ERRORS), strict=False)]


def validate_schema(schema: Any) -> None:
    """Raise UsageError if a value is not a JSON Schema."""
    if not isinstance(schema, dict | bool):
        raise UsageError("a JSON Schema must be an object", hint='for example: {"type": "object", "properties": {}}')
    _build_validator(schema)


def _iterate_errors(schema: Mapping[str, Any] | bool, value: Any) -> list[jsonschema_rs.ValidationError]:
    try:
        return list(_build_validator(schema).iter_errors(value))
    except (ValueError, RecursionError) as error:  # nested deeper than the library supports
        raise UsageError(f"cannot validate the value: {error}") from None


def _build_validator(schema: Mapping[str, Any] | bool) -> Any:
    plain = schema if isinstance(schema, bool) else dict(schema)
    try:
        # The pattern comes from the author of the schema: without a limit it could run forever.
        return jsonschema_rs.validator_for(
            plain, retriever=_refuse_retrieval, pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise UsageError(f"not a valid JSON Schema: {_truncate(str(error).partition(chr(10))[0])}") from None


def _refuse_retrieval(uri: str) -> Any:
    raise ValueError(f'"{uri}" is outside the schema')


def _format_error(error: jsonschema_rs.ValidationError) -> str:
    path = "".join(f"/{step}" for step in error.instance_path)
    return f"{path}: {_truncate(error.message)}" if path else _truncate(error.message)


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_ERROR_CHARS else text[: _MAX_ERROR_CHARS - 1] + "…"
