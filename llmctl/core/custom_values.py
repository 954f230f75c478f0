"""Values for custom columns, as such a column holds them."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core import clock, stored_json
from llmctl.core.errors import UsageError


def column_value(name: str, value: Any, kind: str) -> Any:
    """Return a value for a custom column of that declared type; raises UsageError where it does not fit."""
    try:
        match kind.upper():
            case "INTEGER":
                return int(value)
            case "REAL":
                return float(value)
            case "BOOLEAN":
                return {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}[str(value).lower()]
            case "JSONB":
                return _container(value)
            case "DATETIME":
                return clock.stored(clock.parsed(str(value)))
            case _:
                return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'"{value}" is no {kind.lower()} for field "{name}"') from error


def _container(value: Any) -> str:
    """Return an object or array as such a column holds it; SQLite would make a number of ``"7"`` there."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict | list):
        raise ValueError("neither object nor array")
    return stored_json.dumps(found)
