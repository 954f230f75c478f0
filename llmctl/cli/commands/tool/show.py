"""``llmctl tool show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import COLUMNS, ToolArgument, tool_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.store.records import tools

_COLUMNS = [column.replace(is_default=True) for column in COLUMNS]


@record_output
def show(ctx: typer.Context, ref: ToolArgument) -> None:
    """Show a tool and its permission rules.

    Examples:
      llmctl tool show weather
    """
    app: App = ctx.obj
    database = app.hub()
    tool = tool_record(app, tools.get_record(database, ref))
    emit_record(app.console, tool | {"rules": tools.list_rules(database, tool["id"])}, _COLUMNS)
