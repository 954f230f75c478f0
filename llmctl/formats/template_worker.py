"""Render a template within limits of memory and time, in a process of its own: JSON on stdin, JSON on stdout."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.formats import templates

#: A page of text takes a few milliseconds and megabytes; the interpreter itself takes about 200 MB of addresses.
CPU_S = 5
MEMORY_BYTES = 1_000_000_000


def main() -> None:
    """Answer with a ``text`` for each of the ``rows`` of values, or with ``error``, ``hint`` and ``reason``."""
    request = json.load(sys.stdin)
    for limit, value in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY_BYTES)):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):  # the system has a lower limit, or none of this kind
            continue
    json.dump([_render(request["text"], values, request["source"]) for values in request["rows"]], sys.stdout)


def _render(text: str, values: dict[str, Any], source: str) -> dict[str, str | None]:
    try:
        return {"text": templates.render(text, values, source)}
    except UsageError as error:
        return {"error": error.message, "hint": error.hint, "reason": error.reason}
    except MemoryError:
        return {"error": templates.too_large_message(source)}
    except Exception as error:  # what a filter or method raises is the template's own mistake
        return {"error": f'cannot render "{source}": {error}'}
