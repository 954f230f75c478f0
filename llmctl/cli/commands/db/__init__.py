"""What the commands of the hub file share: reporting what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json


def emit_result(app: App, document: Mapping[str, Any], path: str | None, text: str) -> None:
    """Report what was done: a document with ``--json``, the path that was written to a pipe, a line to people."""
    app.console.note(text)
    if app.console.format.is_json:
        emit_json(app.console, document)
    elif path is not None and (app.console.quiet or not app.console.io.stdout_tty):
        app.console.io.write(f"{path}\n")
