"""Render templates of prompt files and agents without letting one take all memory or time.

A template that only puts values in place is rendered here; one that could multiply them is rendered in a process with
limits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
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
        rendered = _render_apart(text, [values], source)[0]
    except (TypeError, ValueError, RecursionError):  # objects of a program that calls this library
        return templates.render(text, values, source)
    if isinstance(rendered, UsageError):
        raise rendered
    return rendered


class TemplateRenderer:
    """A template that is rendered for many rows of values, which hold JSON; ``names`` are its variables."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self.names = templates.list_variables(text, source)
        self._render = templates.compile_template(text, source) if templates.is_linear(text, source) else None

    def render_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[str | UsageError]:
        """Return the text of each row, or why there is none."""
        if self._render:
            return [self._render_here(values) for values in rows]
        try:
            return _render_apart(self._text, rows, self._source)
        except UsageError as error:  # one of them takes all the time or memory
            if len(rows) == 1:
                return [error]
            return [text for values in rows for text in self.render_rows([values])]

    def _render_here(self, values: Mapping[str, Any]) -> str | UsageError:
        assert self._render
        try:
            return self._render(values)
        except UsageError as error:
            return error


def _render_apart(text: str, rows: Sequence[Mapping[str, Any]], source: str) -> list[str | UsageError]:
    """Render a template for each row in a process with limits; raise UsageError where it reaches one."""
    request = json.dumps({"text": text, "rows": [dict(values) for values in rows], "source": source})
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
        answers = json.loads(completed.stdout)
    except ValueError:
        if b"MemoryError" in completed.stderr:
            raise UsageError(templates.too_large_message(source), reason="template") from None
        raise UsageError(f'cannot render "{source}": it takes too long', reason="template") from None
    return [answer["text"] if "text" in answer else _template_error(answer) for answer in answers]


def _template_error(answer: Mapping[str, Any]) -> UsageError:
    return UsageError(answer["error"], hint=answer.get("hint"), reason=answer.get("reason") or "template")
