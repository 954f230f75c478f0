"""Make earlier tool calls acceptable to a host: another host's model may have produced them."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

#: Characters that not every host accepts in a tool name.
_NAME = r"[^a-zA-Z0-9_-]"


def to_valid_id(id: str, pattern: str) -> str:
    """Return the id if it fully matches ``pattern``, else a valid id derived from it (always the same)."""
    if re.fullmatch(pattern, id):
        return id
    digest = sha256(id.encode("utf-8", "replace")).hexdigest()
    generated = f"call_{digest[:24]}"
    return generated if re.fullmatch(pattern, generated) else digest[:9]


def to_valid_name(name: str, max_length: int = 64) -> str:
    """Return a tool name with only accepted characters; the name of an offered tool is unchanged."""
    return re.sub(_NAME, "_", name)[:max_length] or "tool"


def parse_arguments(text: str) -> dict[str, Any]:
    """Return arguments as a JSON object; text that is not one is wrapped so that the model can still read it."""
    value: Any = text or "{}"
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}
