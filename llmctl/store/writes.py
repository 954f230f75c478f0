"""Writes as values, so that what cannot be written now can be kept and written later."""

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
    """Changes to the row of that id; no such row (deleted meanwhile) is no error.

    With ``where`` only while these columns have these values.
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


def legible(write: Write) -> Write:
    """Return a write without halves of surrogate pairs, which no database takes: U+FFFD stands for them."""
    match write:
        case Insert(table, row):
            return Insert(table, legible_row(row))
        case Update(table, id, changes, where):
            return Update(table, id, legible_row(changes), where)
    return write


def legible_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values in the same way."""
    return {
        name: value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }
