"""JSON as the hub stores it: compact text, any character as itself."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    return _ENCODER.encode(value)


def loads(text: str | None, default: Any = None) -> Any:
    """Read a stored column; NULL and the text ``null`` are alike."""
    if text is None:
        return default
    value = json.loads(text)
    return default if value is None else value
