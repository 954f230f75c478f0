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
