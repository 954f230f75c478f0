"""Rows of a hub as a stream, between the database and the lossless JSONL format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from llmctl.core.values import Value

#: ``json`` columns may hold a document, ``boolean`` ones hold 0 or 1; everything else is a ``value``.
Kind = Literal["value", "json", "boolean"]

#: Name of the format, and the version of its shape, in the first line.
FORMAT = "llmctl"
VERSION = 1


class TableLayout(Value):
    """The columns of a table, in the order they are written, and the kind of each."""

    table: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]


class TransferHeader(Value):
    """The first line of a file. ``fields``: table -> the user's custom columns -> declared type."""

    schema: int
    fields: Mapping[str, Mapping[str, str]] = {}


class ExportRow(NamedTuple):
    """A row to export: its layout and a value for each column."""

    layout: TableLayout
    values: Sequence[Any]


class ImportRow(Value):
    """A row to import: our name of the table, the known columns, and the line it came from."""

    table: str
    row: Mapping[str, Any]
    line: int = 0


class MalformedLine(Value):
    """A line that cannot be parsed, and why."""

    line: int
    reason: str


#: ``unchanged``: our row is already there and not older.
MergeStatus = Literal["imported", "updated", "unchanged", "skipped"]


class MergeResult(Value):
    """What happened to an imported row, and why."""

    status: MergeStatus
    reason: str | None = None
