"""Parse JSON from hosts: the object in a stream event, or the object that is the whole response."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.wire.errors import not_json_error

# Some hosts send unescaped line breaks inside strings.
_decode = json.JSONDecoder(strict=False).decode


def parse_object(data: str) -> dict[str, Any] | None:
    """Return the JSON object in an event; None for anything else."""
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def filter_objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def format_excerpt(data: str) -> str:
    """Return the start of an unreadable event on one line, with keys masked."""
    return mask_keys(" ".join(data[:200].split()))[:120]


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a response; raise UnavailableError (``not_json``) for a page or a truncated body."""
    # OpenRouter sends lines of white space before the JSON while it waits.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise not_json_error(200, body) from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise not_json_error(200, body)
    return answer
