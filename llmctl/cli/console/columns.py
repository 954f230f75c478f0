"""The columns of lists and records: their names, the kinds of their values, and values as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmctl.core import stored_values
from llmctl.core.values import Value

Row = Mapping[str, Any]
ColumnKind = Literal["text", "id", "time", "number", "cost", "duration", "bool", "json", "status", "snippet"]


class OutputColumn(Value):
    """A column of a list: its key in the row, the kind of value, and whether it is shown without ``--columns``.

    ``is_optional`` columns came after 0.1.0: JSON has them, CSV and TSV only if ``--columns`` names them.
    """

    name: str
    kind: ColumnKind = "text"
    is_default: bool = True
    header: str | None = None
    is_optional: bool = False

    @property
    def title(self) -> str:
        return self.header or self.name.replace("_", " ")


def format_plain(value: Any, kind: ColumnKind = "text") -> str:
    """Format a value for pipes and CSV: complete, as stored, empty for NULL."""
    if value is None:
        return ""
    if isinstance(value, bool) or kind == "bool":
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return stored_values.dumps(value)
    return str(value)
