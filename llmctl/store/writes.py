"""Writes as values, which can be applied now or spooled for later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    table: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Changes to the row of an id; a missing row (deleted meanwhile) is not an error.

    With ``where``, applied only if these columns have these values.
    """

    table: str
    id: str
    changes: Mapping[str, Any]
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows whose columns all equal ``where``."""

    table: str
    where: Mapping[str, Any]


Write = Insert | Update | Delete


def replace_surrogates(write: Write) -> Write:
    """Return a write with lone surrogates, which no database accepts, replaced by U+FFFD."""
    match write:
        case Insert(table, row):
            return Insert(table, replace_row_surrogates(row))
        case Update(table, id, changes, where):
            return Update(table, id, replace_row_surrogates(changes), where)
    return write


def replace_row_surrogates(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its lone surrogates replaced."""
    return {
        name: value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }
