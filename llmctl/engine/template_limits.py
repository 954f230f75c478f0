"""Render templates of prompt files and agents without letting one take all memory or time.

A template that only puts values in place is rendered here; one that could multiply them is rendered in a process with
limits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.formats import templates
from llmctl.tools import process

#: Bytes of a rendered template; no model reads more.
MAX_BYTES = 50_000_000
#: The worker's own limit is on its processor time: a busy machine may take longer.
_TIMEOUT_S = 60.0
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CODE = "import sys; sys.path += sys.argv[1:]; from llmctl.formats.template_worker import main; main()"


def render(text: str, values: Mapping[str, Any], source: str) -> str:
    """Render a template; raise UsageError for any error in it, and for one that is too large or takes too long."""
    if templates.is_linear(text, source):
        return templates.render(text, values, source)
    try:
        request = json.dumps({"text": text, "values": dict(values), "source": source})
    except (TypeError, ValueError, RecursionError):  # objects of a program that calls this library
        return templates.render(text, values, source)
    completed = process.run_program(
        [sys.executable, "-P", "-c", _CODE, *filter(None, sys.path), _PACKAGE_ROOT],
        env={"LANG": "C.UTF-8"},
        stdin=request.encode("utf-8", "surrogatepass"),
        timeout_s=_TIMEOUT_S,
        max_output_bytes=MAX_BYTES,
        kill_beyond_bytes=MAX_BYTES,
    )
    if completed.exceeded_output:
        raise UsageError(templates.too_large_message(source), reason="template")
    try:
        answer = json.loads(completed.stdout)
    except ValueError:
        if b"MemoryError" in completed.stderr:
            raise UsageError(templates.too_large_message(source), reason="template") from None
        raise UsageError(f'cannot render "{source}": it takes too long', reason="template") from None
    if "error" in answer:
        raise UsageError(answer["error"], hint=answer.get("hint"), reason=answer.get("reason") or "template")
    rendered: str = answer["text"]
    return rendered
