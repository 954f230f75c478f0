"""Render a template within limits of memory and time, in a process of its own: JSON on stdin, JSON on stdout."""

from __future__ import annotations

import json
import resource
import sys

from llmctl.core.errors import UsageError
from llmctl.formats import templates

#: A page of text takes a few milliseconds and megabytes; the interpreter itself takes about 200 MB of addresses.
CPU_S = 5
MEMORY_BYTES = 1_000_000_000


def main() -> None:
    """Answer with ``text``, or with the ``error``, ``hint`` and ``reason`` of a template that cannot be rendered."""
    request = json.load(sys.stdin)
    for limit, value in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY_BYTES)):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):  # the system has a lower limit, or none of this kind
            continue
    answer: dict[str, str | None]
    try:
        answer = {"text": templates.render(request["text"], request["values"], request["source"])}
    except UsageError as error:
        answer = {"error": error.message, "hint": error.hint, "reason": error.reason}
    except MemoryError:
        answer = {"error": templates.too_large_message(request["source"])}
    except Exception as error:  # what a filter or method raises is the template's own mistake
        answer = {"error": f'cannot render "{request["source"]}": {error}'}
    json.dump(answer, sys.stdout)
