"""JSON as the hub stores it: compact, without escaping non-ASCII characters."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    return _ENCODER.encode(value)


def loads(text: str | None, default: Any = None) -> Any:
    """Parse a stored column; NULL and the text ``null`` both give the default."""
    if text is None:
        return default
    value = json.loads(text)
    return default if value is None else value
