"""Store the long texts of the ledger in fewer bytes: streams compressed, parts of HTTP bodies that repeat once.

A row has its whole text outside the tables: :class:`llmctl.store.database.Database` compacts what it writes, reads
restore it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from llmctl.core.stored_values import dumps

#: What a function of SQL takes and returns.
SqlValue = str | bytes | int | float | None

#: The longest text that is stored as it is, in characters.
MAX_PLAIN_CHARS = 1024
#: Table -> the column of its long text, and the one that holds it in fewer bytes.
COMPACT_COLUMNS = {"response_streams": ("raw_output", "raw_output_gz"), "network_calls": ("body", "shared_body_id")}
#: The version of the schema that has these columns.
SINCE_SCHEMA = 5
#: zlib's number for a window of 32 kB within the gzip format.
_GZIP = 31
_LEVEL = 9
#: A smaller part of a body costs more as a row of its own.
_MIN_PART = 256
#: Keys of a body with what differs from call to call, and the roles of messages that do not.
_CHANGING = ("messages", "contents", "input", "prompt")
_REPEATED_ROLES = ("system", "developer")


def compress(text: str) -> bytes:
    """Return a text as UTF-8, compressed with gzip; the same text gives the same bytes."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(text.encode()) + compressor.flush()


def decompress(data: bytes) -> bytes:
    """Return what :func:`compress` was given; raise ValueError for damaged data."""
    try:
        return zlib.decompress(data, _GZIP)
    except zlib.error as error:
        raise ValueError("not compressed with gzip") from error


def gunzip(value: SqlValue) -> SqlValue:
    """Return compressed text as text, any other value unchanged."""
    if not isinstance(value, bytes):
        return value
    data = decompress(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def whole_body(rest: str | None, shared: str | None) -> str | None:
    """Return a body with its shared parts."""
    return join_body(rest, shared) if rest is not None and shared is not None else rest


def split_body(text: str) -> tuple[str, str | None]:
    """Return a JSON body without its parts that repeat, and these by their places; None if it has none."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text, None
    parts = dict(_take_parts(body)) if isinstance(body, dict) else {}
    if not parts:
        return text, None
    rest, shared = dumps(body), dumps(parts)
    return (rest, shared) if join_body(rest, shared) == text else (text, None)


def join_body(rest: str, shared: str) -> str:
    """Return the body that :func:`split_body` was given."""
    body = json.loads(rest)
    for place, value in json.loads(shared).items():
        key, _, index = place.partition("/")
        if index:
            body[key][int(index)] = value
        else:
            body[key] = value
    return dumps(body)


def restore_stream(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of ``response_streams`` with its output as text, whichever column holds it."""
    data = row.pop("raw_output_gz", None)
    if data is not None:
        row["raw_output"] = decompress(data).decode("utf-8", "replace")
    return row


def _take_parts(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield place and value of each part that may repeat, and leave null in its place."""
    for key, value in body.items():
        if key not in _CHANGING:
            if "/" not in key and _is_large(value):
                body[key] = None
                yield key, value
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if not isinstance(item, dict) or item.get("role") not in _REPEATED_ROLES:
                    break
                if _is_large(item):
                    value[index] = None
                    yield f"{key}/{index}", item


def _is_large(value: object) -> bool:
    return isinstance(value, str | dict | list) and len(dumps(value)) >= _MIN_PART
