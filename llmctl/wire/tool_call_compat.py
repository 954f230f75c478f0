"""Earlier tool calls in the spelling that a host takes: they may have been made by another host's model."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

#: Characters of a name that every host takes.
_NAME = r"[^a-zA-Z0-9_-]"


def fitting_id(id: str, takes: str) -> str:
    """Return an id that matches ``takes`` whole: itself, or one that is made of it and always the same."""
    if re.fullmatch(takes, id):
        return id
    digest = sha256(id.encode("utf-8", "replace")).hexdigest()
    made = f"call_{digest[:24]}"
    return made if re.fullmatch(takes, made) else digest[:9]


def fitting_name(name: str, most: int = 64) -> str:
    """Return the name of a tool in characters that are taken; one that was offered comes back as it is."""
    return re.sub(_NAME, "_", name)[:most] or "tool"


def arguments_object(text: str) -> dict[str, Any]:
    """Return arguments as the object that is wanted; text that is none stays readable for the model."""
    value: Any = text or "{}"
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}
