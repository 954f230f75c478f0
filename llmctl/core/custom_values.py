"""Convert values to the declared types of custom columns."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core import clock, stored_json
from llmctl.core.errors import UsageError


def to_column_value(name: str, value: Any, declared_type: str) -> Any:
    """Return the value as a column of that type stores it; raise UsageError if it does not fit."""
    try:
        match declared_type.upper():
            case "INTEGER":
                return int(value)
            case "REAL":
                return float(value)
            case "BOOLEAN":
                return {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}[str(value).lower()]
            case "JSONB":
                return _encode_container(value)
            case "DATETIME":
                return clock.format(clock.parse(str(value)))
            case _:
                return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'field "{name}" must be {declared_type.lower()}, got "{value}"') from error


def _encode_container(value: Any) -> str:
    """Return an object or array as JSON text; SQLite would store ``"7"`` as a number."""
    container = json.loads(value) if isinstance(value, str) else value
    if not isinstance(container, dict | list):
        raise ValueError("neither object nor array")
    return stored_json.dumps(container)
