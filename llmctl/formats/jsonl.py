"""The lossless format: JSON Lines, one record per line; the first line has the format, its version and the schema.

A record is ``{"table": ..., "row": {...}}`` with the names of ``schema/``. NULLs are left out, booleans and JSON
columns are JSON, bytes are ``{"base64": ...}``. JSON that would not be reproduced byte for byte stays a string.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from json.encoder import encode_basestring
from math import isfinite
from operator import is_
from typing import Any

from llmctl.core.errors import IncompleteError, UsageError
from llmctl.core.redaction import Masker, is_free_text
from llmctl.core.stored_values import dumps
from llmctl.core.transfer_records import (
    FORMAT,
    VERSION,
    ExportRow,
    ImportRow,
    MalformedLine,
    TableLayout,
    TransferHeader,
)

_RETRY_HINT = "complete conversations were imported; import the whole file again, duplicates are skipped"
#: JSON nested deeper than this stays a string, because readers have limits.
_MAX_DEPTH = 100

Encode = Callable[[Sequence[Any]], str]


def format_header(header: TransferHeader) -> str:
    """Return the first line."""
    first = {"format": FORMAT, "version": VERSION, "schema": header.schema, "fields": header.fields}
    return dumps(first) + "\n"


def format_lines(rows: Iterable[ExportRow], masker: Masker | None = None) -> Iterator[str]:
    """Yield one line per row, with its texts masked."""
    encoders: dict[str, Encode] = {}
    for layout, values in rows:
        encode = encoders.get(layout.table)
        if encode is None:
            encode = encoders[layout.table] = row_encoder(layout, masker or Masker())
        yield encode(values)


def row_encoder(layout: TableLayout, masker: Masker) -> Encode:
    """Return a function from a row of that table to its line. Rows with the same NULLs share a template."""
    shapes: dict[tuple[bool, ...], _LineTemplate] = {}
    shortest = masker.min_length

    def encode(values: Sequence[Any]) -> str:
        pattern = tuple(map(is_, values, repeat(None)))
        shape = shapes.get(pattern)
        if shape is None:
            shape = shapes[pattern] = _LineTemplate(layout, pattern)
        present = [value for value in values if value is not None]
        for index in shape.texts:
            value = present[index]
            if type(value) is str and len(value) >= shortest:
                present[index] = masker.mask_text(value)
        pieces = [_ENCODERS[type(value)](value) for value in present]
        for index in shape.booleans:
            pieces[index] = _encode_boolean(present[index])
        for index in shape.documents:
            pieces[index] = _encode_document(present[index], masker)
        return shape.template % tuple(pieces)

    return encode


class _LineTemplate:
    """Template of the lines of rows that have the same columns filled; positions count these columns only."""

    def __init__(self, layout: TableLayout, empty: Sequence[bool]) -> None:
        columns = [
            (name, kind)
            for name, kind, is_empty in zip(layout.columns, layout.kinds, empty, strict=True)
            if not is_empty
        ]
        fields = ",".join(f"{dumps(_exported_name(name)).replace('%', '%%')}:%s" for name, _ in columns)
        self.template = f'{{"table":{dumps(layout.table)},"row":{{{fields}}}}}\n'
        self.booleans = [index for index, (_, kind) in enumerate(columns) if kind == "boolean"]
        self.documents = [index for index, (_, kind) in enumerate(columns) if kind == "json"]
        self.texts = [index for index, (name, kind) in enumerate(columns) if kind == "value" and is_free_text(name)]


def is_header(line: str) -> bool:
    """Return whether a line is the first line of this format."""
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("format") == FORMAT and "version" in first


def parse_header(line: str) -> TransferHeader:
    """Parse the first line; raise UsageError for a version newer than this program supports."""
    first = json.loads(line)
    if not isinstance(first["version"], int) or first["version"] > VERSION:
        raise UsageError(
            f'unsupported export version "{first["version"]}"; this llmctl reads up to {VERSION}', hint="upgrade llmctl"
        )
    fields = first.get("fields") or {}
    if not isinstance(fields, dict) or not all(map(_is_column_types, fields.values())):
        raise UsageError("the first line of the export has invalid fields")
    schema = first.get("schema")
    return TransferHeader(schema if isinstance(schema, int) else 0, fields)


def _is_column_types(columns: Any) -> bool:
    return isinstance(columns, dict) and all(isinstance(declared, str) for declared in columns.values())


def parse_records(lines: Iterable[bytes], first: int = 2) -> Iterator[ImportRow | MalformedLine]:
    """Yield a record for each line, or why it is malformed; ``first`` is the number of the first line.

    Raises IncompleteError if the last line is cut off.
    """
    for number, line in enumerate(lines, first):
        if line.isspace():
            continue
        try:
            document = json.loads(line.decode())
            table = document["table"]
            if not isinstance(table, str):
                raise TypeError
            yield ImportRow(table, _decode_row(document["row"]), number)
        except UnicodeDecodeError as error:
            if not line.endswith(b"\n"):
                raise IncompleteError(f"the export ends in the middle of line {number}", hint=_RETRY_HINT) from error
            yield MalformedLine(number, "not valid UTF-8")
        except json.JSONDecodeError as error:
            if not line.endswith(b"\n"):
                raise IncompleteError(f"the export ends in the middle of line {number}", hint=_RETRY_HINT) from error
            yield MalformedLine(number, f"invalid JSON: {error.msg}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            yield MalformedLine(number, 'not a record: "table" or "row" is missing')


def _decode_row(row: dict[str, Any]) -> dict[str, Any]:
    if "references" in row:
        row["refs"] = row.pop("references")
    for name, value in row.items():
        kind = type(value)
        if kind is dict:
            row[name] = "{}" if not value else b64decode(value["base64"]) if _is_bytes(value) else dumps(value)
        elif kind is list:
            row[name] = dumps(value)
    return row


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("base64"), str)


def _exported_name(column: str) -> str:
    return "references" if column == "refs" else column


def _encode_value(value: Any) -> str:
    return _ENCODERS[type(value)](value)


def _encode_float(value: float) -> str:
    return repr(value) if isfinite(value) else dumps(value)


def _encode_bytes(value: bytes) -> str:
    return f'{{"base64":"{b64encode(value).decode()}"}}'


_ENCODERS: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: repr,
    float: _encode_float,
    bytes: _encode_bytes,
}


def _encode_boolean(value: Any) -> str:
    return "true" if value == 1 else "false" if value == 0 else _encode_value(value)


def _encode_document(value: Any, masker: Masker) -> str:
    if value == "{}" or value == "[]":
        return str(value)
    if not isinstance(value, str):
        return _encode_value(value)
    text = masker.mask_json(value)
    return text if _is_canonical(text) else _encode_value(text)


def _is_canonical(text: str) -> bool:
    """Return whether a text is an object or array that parsing and serialising reproduces exactly."""
    if not text.startswith(("{", "[")):
        return False
    try:
        value = json.loads(text)
        return not _is_bytes(value) and dumps(value) == text and not _is_deeper(value, _MAX_DEPTH)
    except (ValueError, RecursionError):
        return False


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items if isinstance(item, dict | list))
