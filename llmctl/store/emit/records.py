"""What the records that ``--json`` and ``export`` print have in common, beyond the declared types of columns."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.store.schema.introspect import Column, Table

#: Columns of text that hold JSON, which is printed as such where it can be parsed.
_JSON_TEXTS = {("messages", "content_raw"), ("tool_invocations", "arguments")}
#: Columns without NULLs that a list leaves out, because they may be long.
_NOT_LISTED = {("text_logs", "text"), ("text_logs", "position")}


def logical_name(table: Table, names: Mapping[str, str]) -> str:
    """Return our name of a table; empty if it is another one that has the name of a renamed table."""
    known = next((logical for logical, physical in names.items() if physical == table.name), None)
    return known or ("" if table.name in names else table.name)


def is_always_there(logical: str, column: Column) -> bool:
    """Return whether every record has the column: exports leave NULLs out."""
    return not column.nullable and (logical, column.name) not in _NOT_LISTED


def holds_json(logical: str, column: Column) -> bool:
    """Return whether a column of text is printed as JSON where it can be parsed."""
    return (logical, column.name) in _JSON_TEXTS
