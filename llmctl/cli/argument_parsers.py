"""Parse ``K=V`` and ``K:=JSON`` arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.redaction.secret_patterns import mask_keys


def parse_pairs(items: Iterable[str], flag: str, *, parse_values: bool = False) -> dict[str, Any]:
    """Parse ``K=V`` and ``K:=JSON``; with ``parse_values`` V is decoded if it is JSON (a number, true, a list)."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip(":"):
            raise UsageError(f'{flag} must be K=V, got "{mask_keys(item)}"')
        if key.endswith(":"):
            values[key[:-1]] = parse_json(value, f"{flag} {key}=")
        else:
            values[key] = _parse_json_or_text(value) if parse_values else value
    return values


def _parse_json_or_text(value: str) -> Any:
    try:
        return _load_json(value)
    except ValueError:
        return value


def parse_json(text: str, source: str) -> Any:
    """Parse JSON; raises UsageError that names its ``source``."""
    try:
        return _load_json(text)
    except ValueError as error:
        raise UsageError(f'"{source}" is not valid JSON: {error}') from error


def _load_json(text: str) -> Any:
    """Parse standard JSON, which has no NaN or Infinity. Raises ValueError."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    return value
