"""``llmctl tool remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import ToolArgument
from llmctl.cli.console.prompts import confirm
from llmctl.store.records import tools


def remove(
    ctx: typer.Context,
    ref: ToolArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a tool, or all tools of an MCP server; their invocations are kept.

    It asks on a terminal.

    Examples:
      llmctl tool remove weather
      llmctl tool remove fs --yes
    """
    from llmctl.engine.tools import servers

    app: App = ctx.obj
    database = app.hub("write")
    rows = servers.get_tools(database, ref)
    names = ", ".join(f'"{row.name}"' for row in rows)
    confirm(app.console, f"remove tool{'' if len(rows) == 1 else 's'} {names}", yes=yes, is_required=False)
    with database.transaction(durable=True):
        for row in rows:
            tools.delete(database, row.id)
    for row in rows:
        app.console.note(f'removed tool "{row.name}"')
