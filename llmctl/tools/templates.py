"""Templates with ``{name}`` slots for arguments. The values of arguments are never parsed as templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.errors import InvalidOutputError
from llmctl.core.stored_values import dumps

#: A slot, or an escaped brace.
SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}|\{\{|\}\}")


def list_slots(template: str) -> list[str]:
    """Return the names of the slots in a template."""
    return [match[1] for match in SLOT.finditer(template) if match[1]]


def fill(template: str, arguments: Mapping[str, Any], quote: Callable[[str], str] = str) -> str:
    """Fill in the arguments, each passed through ``quote``. ``{{`` and ``}}`` are literal braces."""

    def value(match: re.Match[str]) -> str:
        return quote(argument_text(arguments, match[1])) if match[1] else match[0][0]

    return SLOT.sub(value, template)


def argument_text(arguments: Mapping[str, Any], name: str) -> str:
    """Return an argument as text; a missing one is empty."""
    return to_text(arguments.get(name))


def to_text(value: Any) -> str:
    """Return a value as text for a program: strings unchanged, anything else as JSON. Raises for a NUL byte."""
    text = "" if value is None else value if isinstance(value, str) else dumps(value)
    if "\0" in text:
        raise InvalidOutputError("an argument cannot contain a NUL byte")
    return text
