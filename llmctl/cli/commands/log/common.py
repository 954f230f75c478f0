"""What the commands of logs share: columns, arguments, and printing a log's text."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn
from llmctl.cli.console.terminal import safe_text

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("characters", "number"),
    OutputColumn("pieces", "number", is_default=False),
    OutputColumn("updated_at", "time", header="when"),
    OutputColumn("beginning"),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("invocation_id", "id", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
]

LogArgument = Annotated[str, typer.Argument(metavar="REF", help="Log: id, or id prefix.")]


def write_log_text(app: App, text: str) -> None:
    """Write a piece of a log to stdout."""
    app.io.write(safe_text(text) if app.io.stdout_tty else text)
