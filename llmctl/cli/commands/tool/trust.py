"""``llmctl tool trust``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import tool_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.cli.console.prompts import confirm
from llmctl.cli.console.terminal import safe_line
from llmctl.store.records import tools


@record_output
def trust(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Tools, MCP servers or patterns.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Trust tools that came with an import or a hub of someone else.

    Shows where each sends to or what it runs, and with which of your keys. Until you trust it a server name or a
    pattern does not allow it, and a tool that takes keys asks before every run. Trust is kept outside the hub, for you
    alone, and ends when the tool changes. What you add yourself is trusted.

    Examples:
      llmctl tool trust count
    """
    from llmctl.engine.connections import trust as tool_trust
    from llmctl.engine.tools import servers

    app: App = ctx.obj
    database = app.hub("write")
    for row in [row for ref in refs for row in servers.get_tools(database, ref)]:
        tool = tools.to_tool(row)
        use = tool_trust.describe_tool_use(tool)
        if not tool_trust.is_tool_trusted(database, tool, app.env):
            confirm(app.console, safe_line(f'trust tool "{tool.name}": {use}'), yes=yes)
            tool_trust.add_tool(database, tool, app.env)
        record = tool_record(app, tools.get_record(database, row.id))
        emit_change(app.console, record, f'tool "{tool.name}" is trusted: {use}')
