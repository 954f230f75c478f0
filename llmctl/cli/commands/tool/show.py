"""``llmctl tool show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool.common import COLUMNS, ToolArgument
from llmctl.cli.console.output import emit_record, record_output
from llmctl.store.records import permission_rules, tools

_COLUMNS = [column._replace(is_default=True) for column in COLUMNS]


@record_output
def show(ctx: typer.Context, ref: ToolArgument) -> None:
    """Show a tool and its permission rules.

    Examples:
      llmctl tool show weather
    """
    app: App = ctx.obj
    database = app.hub()
    tool = tools.get_record(database, ref)
    emit_record(app, tool | {"rules": permission_rules.list_for_tool(database, tool["id"])}, _COLUMNS)
