"""``llmctl connection list``."""

from __future__ import annotations

import shlex

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import COLUMNS, connection_record
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list
from llmctl.store.records import connections


@list_output
def list_(ctx: typer.Context) -> None:
    """List connections.

    Examples:
      llmctl connection list
      llmctl connection list --json
    """
    app: App = ctx.obj
    rows = [connection_record(app, row) for row in connections.list_(app.hub())]
    emit_list(app.console, rows, COLUMNS, Extent("no connections yet"))
    if untrusted := " ".join(shlex.quote(row["name"]) for row in rows if not row["trusted"]):
        app.console.note(f"not used before you trust it: llmctl connection trust {untrusted}")
