"""Values as the hub stores them: ids, JSON, and custom columns."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import isfinite
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

#: JSON nested deeper is cut: SQLite's own functions and other readers stop at about 1,000 levels.
MAX_JSON_DEPTH = 200
#: Longer whole numbers are no numbers to readers that use doubles.
_MAX_INTEGER_BITS = 1023


def dumps(value: Any) -> str:
    """Return compact JSON, without escaping non-ASCII characters.

    It is valid for every reader: numbers that JSON does not have (NaN, infinity) become null.
    """
    try:
        return _ENCODER.encode(value)
    except (ValueError, RecursionError):
        return _ENCODER.encode(to_storable(value))


def to_storable(value: Any, depth: int = 0) -> Any:
    """Return a value that a stranger sent as JSON and UTF-8 can hold it.

    Lone surrogates become U+FFFD; NaN, infinity, endless integers and what is nested too deeply become None.
    """
    match value:
        case str():
            return replace_surrogates(value)
        case float():
            return value if isfinite(value) else None
        case int():
            return value if value.bit_length() <= _MAX_INTEGER_BITS else None
        case Mapping() if depth < MAX_JSON_DEPTH:
            return {to_storable(key): to_storable(item, depth + 1) for key, item in value.items()}
        case list() | tuple() if depth < MAX_JSON_DEPTH:
            return [to_storable(item, depth + 1) for item in value]
        case Mapping() | list() | tuple():
            return None
    return value


def replace_surrogates(text: str) -> str:
    """Return the text with lone surrogates, which no encoding has, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def loads(text: str | None, default: Any = None) -> Any:
    """Parse a stored column; NULL and the text ``null`` both give the default."""
    if text is None:
        return default
    value = json.loads(text)
    return default if value is None else value


#: Random bytes for the next ids: asking the system for each would let go of Python's lock, and wait for it again.
_random_bytes: list[bytes] = []
_IDS_AT_ONCE = 64
os.register_at_fork(after_in_child=_random_bytes.clear)


def new_id() -> str:
    """Return a random version 4 UUID in lower case, as the seeds and Prisma's ``uuid()`` create them."""
    try:
        chosen = _random_bytes.pop()
    except IndexError:
        block = os.urandom(16 * _IDS_AT_ONCE)
        _random_bytes.extend(block[start : start + 16] for start in range(16, len(block), 16))
        chosen = block[:16]
    text = chosen.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[chosen[8] & 3]}{text[17:20]}-{text[20:]}"


def to_column_value(name: str, value: Any, declared_type: str) -> Any:
    """Return the value as a column of that type stores it; raise UsageError if it does not fit."""
    try:
        match declared_type.upper():
            case "INTEGER":
                return int(value)
            case "REAL":
                return float(value)
            case "BOOLEAN":
                return {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}[str(value).lower()]
            case "JSONB":
                return _encode_container(value)
            case "DATETIME":
                return clock.format(clock.parse(str(value)))
            case _:
                return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'field "{name}" must be {declared_type.lower()}, got "{value}"') from error


def _encode_container(value: Any) -> str:
    """Return an object or array as JSON text; SQLite would store ``"7"`` as a number."""
    container = json.loads(value) if isinstance(value, str) else value
    if not isinstance(container, dict | list):
        raise ValueError("neither object nor array")
    return dumps(container)


def assign_fields(
    metadata: Mapping[str, Any], fields: Mapping[str, Any], columns: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata, and the values of custom columns: the fields, and metadata named like a column.

    ``columns`` maps the custom columns of chats to their types. Raises UsageError for a field that is none of them.
    """
    for key in fields:
        if key not in columns:
            hint = f"available: {', '.join(columns)}" if columns else f"add it: llmctl init --field chats.{key}:text"
            raise UsageError(f'no custom field "{key}" on chats', hint=hint)
    values = {**fields, **{key: value for key, value in metadata.items() if key in columns}}
    rest = {key: value for key, value in metadata.items() if key not in columns}
    return rest, {key: to_column_value(key, value, columns[key]) for key, value in values.items()}


def parse_json_or_text(text: Any) -> Any:
    """Return the value of a JSON text, or the text itself if it is not JSON."""
    if text == "{}":
        return {}  # the most frequent value: 5 times as fast
    if not isinstance(text, str):
        return text
    try:
        return loads(text)
    except ValueError:
        return text


def decode_arguments(text: str | None) -> Any:
    """Return the arguments of a tool call; some models encode them twice.

    Text that is not JSON stays text, and so does one with numbers that JSON does not have.
    """
    value: Any = text
    while isinstance(value, str):
        try:
            value = _STRICT_DECODER.decode(value)
        except (ValueError, RecursionError):
            return value
    return value if text is None or "\\u" not in text else to_storable(value)


def _parse_finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_STRICT_DECODER = json.JSONDecoder(parse_float=_parse_finite, parse_constant=_refuse_constant)
