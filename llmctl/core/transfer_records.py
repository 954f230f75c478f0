"""A hub's rows as a stream: what passes between the database and the lossless format. Holds no rows itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

#: ``json`` columns may hold a document, ``boolean`` ones hold 0 or 1; everything else is a ``value``.
Kind = Literal["value", "json", "boolean"]

#: Name of the format, and the version of its shape, in the first line.
FORMAT = "llmctl"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table, in the order they are written, and what kind each is."""

    table: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What is said before the first row. ``fields``: table -> the user's own columns -> declared type."""

    schema: int
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Row(NamedTuple):
    """A row on its way out: its layout, and a value for each of its columns."""

    layout: Layout
    values: Sequence[Any]


class Record(NamedTuple):
    """A row on its way in: the table by our name for it, and what is known of the row. ``line`` is where it stood."""

    table: str
    row: Mapping[str, Any]
    line: int = 0


class Broken(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    why: str


#: ``unchanged``: it is here already, and as new as theirs.
Fate = Literal["imported", "updated", "unchanged", "skipped"]


class Outcome(NamedTuple):
    """What became of a row, and what is to be said about it."""

    fate: Fate
    why: str | None = None
