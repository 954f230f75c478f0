"""The lossless format: JSON Lines, one record a line. The first line names the format, its version and the schema.

A record is ``{"table": ..., "row": {...}}`` under the names of ``schema/``. What is NULL is left out, booleans and
documents are JSON, bytes are ``{"base64": ...}``. A document that JSON would write otherwise stays text.
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
from llmctl.core.redaction.masking import Clean, is_free_text
from llmctl.core.stored_json import dumps
from llmctl.core.transfer_records import FORMAT, VERSION, Broken, Header, Layout, Record, Row

_WHOLE = "conversations that are whole came in; import all of it again: nothing is doubled"
#: Documents nested deeper than this stay text: readers have limits.
_DEEPEST = 100

Encode = Callable[[Sequence[Any]], str]


def header_line(header: Header) -> str:
    """Return the first line."""
    first = {"format": FORMAT, "version": VERSION, "schema": header.schema, "fields": header.fields}
    return dumps(first) + "\n"


def lines(rows: Iterable[Row], clean: Clean | None = None) -> Iterator[str]:
    """Yield a line for each row, with what ``clean`` makes of its texts."""
    encoders: dict[str, Encode] = {}
    for layout, values in rows:
        encode = encoders.get(layout.table)
        if encode is None:
            encode = encoders[layout.table] = encoder(layout, clean or Clean())
        yield encode(values)


def encoder(layout: Layout, clean: Clean) -> Encode:
    """Return what makes a line of a row of that table. Rows with the same NULLs share their shape."""
    shapes: dict[tuple[bool, ...], _Shape] = {}
    shortest = clean.shortest

    def encode(values: Sequence[Any]) -> str:
        pattern = tuple(map(is_, values, repeat(None)))
        shape = shapes.get(pattern)
        if shape is None:
            shape = shapes[pattern] = _Shape(layout, pattern)
        given = [value for value in values if value is not None]
        for place in shape.texts:
            value = given[place]
            if type(value) is str and len(value) >= shortest:
                given[place] = clean.text(value)
        pieces = [_WRITERS[type(value)](value) for value in given]
        for place in shape.booleans:
            pieces[place] = _boolean(given[place])
        for place in shape.documents:
            pieces[place] = _document(given[place], clean)
        return shape.template % tuple(pieces)

    return encode


class _Shape:
    """What rows of a table have in common that have the same columns filled; places count these columns only."""

    def __init__(self, layout: Layout, empty: Sequence[bool]) -> None:
        columns = [
            (name, kind) for name, kind, gone in zip(layout.columns, layout.kinds, empty, strict=True) if not gone
        ]
        fields = ",".join(f"{dumps(_outside(name)).replace('%', '%%')}:%s" for name, _ in columns)
        self.template = f'{{"table":{dumps(layout.table)},"row":{{{fields}}}}}\n'
        self.booleans = [place for place, (_, kind) in enumerate(columns) if kind == "boolean"]
        self.documents = [place for place, (_, kind) in enumerate(columns) if kind == "json"]
        self.texts = [place for place, (name, kind) in enumerate(columns) if kind == "value" and is_free_text(name)]


def is_header(line: str) -> bool:
    """Tell whether a line is the first one of this format."""
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.get("format") == FORMAT and "version" in first


def header(line: str) -> Header:
    """Read the first line; raise UsageError for a version that is newer than this program."""
    first = json.loads(line)
    if not isinstance(first["version"], int) or first["version"] > VERSION:
        raise UsageError(
            f'the export has version "{first["version"]}", this program reads up to {VERSION}', hint="upgrade llmctl"
        )
    fields = first.get("fields") or {}
    if not all(isinstance(columns, dict) for columns in fields.values()):
        raise UsageError("the first line of the export names no fields")
    return Header(int(first.get("schema") or 0), fields)


def records(lines: Iterable[bytes], first: int = 2) -> Iterator[Record | Broken]:
    """Yield a record for each line, or why there is none; ``first`` is the number of the first line given.

    Raises IncompleteError where the text breaks off within a line.
    """
    for number, line in enumerate(lines, first):
        if line.isspace():
            continue
        try:
            document = json.loads(line.decode())
            yield Record(document["table"], _row(document["row"]), number)
        except UnicodeDecodeError as error:
            if not line.endswith(b"\n"):
                raise IncompleteError(f"the export breaks off in line {number}", hint=_WHOLE) from error
            yield Broken(number, "no UTF-8")
        except json.JSONDecodeError as error:
            if not line.endswith(b"\n"):
                raise IncompleteError(f"the export breaks off in line {number}", hint=_WHOLE) from error
            yield Broken(number, f"no JSON: {error.msg}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            yield Broken(number, 'no record: it has no "table" and "row"')


def _row(row: dict[str, Any]) -> dict[str, Any]:
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


def _outside(column: str) -> str:
    return "references" if column == "refs" else column


def _value(value: Any) -> str:
    return _WRITERS[type(value)](value)


def _real(value: float) -> str:
    return repr(value) if isfinite(value) else dumps(value)


def _bytes(value: bytes) -> str:
    return f'{{"base64":"{b64encode(value).decode()}"}}'


_WRITERS: Mapping[type, Callable[[Any], str]] = {str: encode_basestring, int: repr, float: _real, bytes: _bytes}


def _boolean(value: Any) -> str:
    return "true" if value == 1 else "false" if value == 0 else _value(value)


def _document(value: Any, clean: Clean) -> str:
    if value == "{}" or value == "[]":
        return str(value)
    if not isinstance(value, str):
        return _value(value)
    text = clean.document(value)
    return text if _is_canonical(text) else _value(text)


def _is_canonical(text: str) -> bool:
    """Tell whether reading and writing the text gives the same text, and an object or array."""
    if not text.startswith(("{", "[")):
        return False
    try:
        value = json.loads(text)
        return not _is_bytes(value) and dumps(value) == text and not _is_deeper(value, _DEEPEST)
    except (ValueError, RecursionError):
        return False


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items if isinstance(item, dict | list))
