"""Rows as records for people and programs: JSON columns as JSON, booleans as such, ``refs`` as ``references``."""

from __future__ import annotations

from typing import Any

from llmctl.core.stored_json import loads
from llmctl.store.database import Database, Row


class Shape:
    """How the rows of one table become records, from the declared types of its columns: the user's own included."""

    def __init__(self, database: Database, table: str) -> None:
        columns = database.query(f"PRAGMA table_info({{{table}}})")
        types = {column["name"]: str(column["type"]).upper() for column in columns}
        self._json = [name for name, declared in types.items() if declared.startswith("JSON") and name != "refs"]
        self._booleans = [name for name, declared in types.items() if declared.startswith("BOOL")]

    def record(self, row: Row) -> Row:
        """Return the row (or one with more columns) as a record; the order of its columns stays."""
        found = dict(row)
        if "refs" in row:
            found = {"id": row["id"], "references": decoded(row["refs"]) or {}, **row}
            del found["refs"]
        for name in self._json:
            if found.get(name) is not None:
                found[name] = decoded(found[name])
        for name in self._booleans:
            if found.get(name) is not None:
                found[name] = bool(found[name])
        return found


def decoded(text: Any) -> Any:
    """Return the value of a JSON text, or the text itself where it is none."""
    if text == "{}":
        return {}  # most there is: 5 times as quick
    if not isinstance(text, str):
        return text
    try:
        return loads(text)
    except ValueError:
        return text


def arguments(text: str | None) -> Any:
    """Return the arguments of a tool call; other programs encode them twice. What is no JSON stays text."""
    value: Any = text
    while isinstance(value, str):
        inner = decoded(value)
        if inner is value or inner == value:
            return value
        value = inner
    return value
