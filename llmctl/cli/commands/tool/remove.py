"""``llmctl tool remove``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import ToolArgument
from llmctl.store.records import tools


def remove(ctx: typer.Context, ref: ToolArgument) -> None:
    """Remove a tool; its invocations are kept.

    Examples:
      llmctl tool remove weather
    """
    app: App = ctx.obj
    database = app.hub("write")
    row = tools.get(database, ref)
    tools.delete(database, row.id)
    app.console.note(f'removed tool "{row.name}"')
