"""JSON from hosts: the object in an event of a stream, and the one that is the whole answer."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.wire.refusals import page_error

# Some hosts send line ends inside strings as they are.
_decode = json.JSONDecoder(strict=False).decode


def object_of(data: str) -> dict[str, Any] | None:
    """Return the object in an event; None for anything else."""
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def excerpt_of(data: str) -> str:
    """Return the beginning of an event that nobody can read, on one line and without keys."""
    return mask_keys(" ".join(data[:200].split()))[:120]


def whole_object(body: bytes) -> dict[str, Any]:
    """Return the object that an answer is; raise UnavailableError (``not_json``) for a page or half of one."""
    # OpenRouter puts lines of white space in front of the JSON while it waits.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise page_error(200, body) from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise page_error(200, body)
    return answer
