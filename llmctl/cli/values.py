"""Values that are written as ``K=V`` and ``K:=JSON``, and how they fit custom columns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.redaction.secret_patterns import mask_keys


def pairs(given: Iterable[str], flag: str, *, typed: bool = False) -> dict[str, Any]:
    """Read ``K=V`` and ``K:=JSON``; with ``typed`` a V that is JSON (a number, true, a list) is taken as such."""
    found: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip(":"):
            raise UsageError(f'"{flag} {mask_keys(item)}" is not K=V')
        if key.endswith(":"):
            found[key[:-1]] = json_value(value, f"{flag} {key}=")
        else:
            found[key] = _guessed(value) if typed else value
    return found


def _guessed(value: str) -> Any:
    try:
        return _loaded(value)
    except ValueError:
        return value


def json_value(text: str, where: str) -> Any:
    """Read JSON; raises UsageError that names ``where`` it stands."""
    try:
        return _loaded(text)
    except ValueError as error:
        raise UsageError(f'"{where}" holds no JSON: {error}') from error


def _loaded(text: str) -> Any:
    """Read JSON by its standard, which knows no NaN and no Infinity. Raises ValueError."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    return value
