"""``{name}`` in a template stands for an argument. Nothing that an argument holds is read as template again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.errors import InvalidOutputError
from llmctl.core.stored_json import dumps

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}|\{\{|\}\}")


def slots(template: str) -> list[str]:
    """Return the names of the arguments that a template holds."""
    return [match[1] for match in _SLOT.finditer(template) if match[1]]


def fill(template: str, arguments: Mapping[str, Any], written: Callable[[str], str] = str) -> str:
    """Put the arguments in; ``written`` says how their text is to be written there. ``{{`` and ``}}`` are braces."""

    def value(match: re.Match[str]) -> str:
        return written(text(arguments, match[1])) if match[1] else match[0][0]

    return _SLOT.sub(value, template)


def text(arguments: Mapping[str, Any], name: str) -> str:
    """Return an argument as text; one that is not given is empty."""
    return plain(arguments.get(name))


def plain(value: Any) -> str:
    """Return a value as a program takes it: text as it is, anything else as JSON. Raises for a NUL."""
    found = "" if value is None else value if isinstance(value, str) else dumps(value)
    if "\0" in found:
        raise InvalidOutputError("an argument holds a NUL byte")
    return found
