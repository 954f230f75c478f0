"""Check the values of imported rows: SQLite stores any type in any column, and reading would fail later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any

_MAX_INTEGER = 2**63 - 1
#: Columns without a default that hold an object.
_OBJECTS = {"metadata", "parameters", "decision", "definition", "usage_details", "response_headers"}
#: Largest amount, in dollars, milliseconds or any unit: sums of it stay finite.
_MAX_NUMBER = 1e300

#: Returns whether a value that is not NULL fits.
Fits = Callable[[Any], bool]


class ColumnTypes:
    """The types of a table's columns, from the rows of ``PRAGMA table_info``."""

    def __init__(self, columns: Iterable[Mapping[str, Any]]) -> None:
        self._fits: dict[str, tuple[str, Fits]] = {}
        for column in columns:
            declared = str(column["type"]).upper()
            fits = _json_check(column) if declared == "JSONB" else _CHECKS.get(declared)
            if fits is not None:
                self._fits[str(column["name"])] = declared.lower(), fits

    def find_problem(self, row: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the first value that does not fit its column."""
        for name, value in row.items():
            if value is not None and name in self._fits and not self._fits[name][1](value):
                return f'{name} must be {self._fits[name][0]}, got "{str(value)[:80]}"'
        return None


def _json_check(column: Mapping[str, Any]) -> Fits | None:
    default = str(column["dflt_value"] or "").strip("'")
    if default == "{}" or column["name"] in _OBJECTS:
        return _is_object
    return _is_array if default == "[]" else _is_text


def _is_object(value: Any) -> bool:
    return type(value) is str and value.lstrip().startswith("{")


def _is_array(value: Any) -> bool:
    return type(value) is str and value.lstrip().startswith("[")


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_integer(value: Any) -> bool:
    return type(value) is int and -_MAX_INTEGER <= value <= _MAX_INTEGER


def _is_number(value: Any) -> bool:
    return (type(value) is float or type(value) is int) and -_MAX_NUMBER < value < _MAX_NUMBER and isfinite(value)


def _is_boolean(value: Any) -> bool:
    return type(value) is bool or (type(value) is int and value in (0, 1))


def _is_time(value: Any) -> bool:
    try:
        return type(value) is str and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


_CHECKS: Mapping[str, Fits] = {
    "TEXT": _is_text,
    "INTEGER": _is_integer,
    "REAL": _is_number,
    "BOOLEAN": _is_boolean,
    "DATETIME": _is_time,
    "BLOB": lambda value: type(value) is bytes,
}
