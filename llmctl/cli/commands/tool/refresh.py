"""``llmctl tool refresh``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_json


@record_output
def refresh(
    ctx: typer.Context, server: Annotated[str, typer.Argument(metavar="SERVER", help="Name of the MCP server.")]
) -> None:
    """Update the tools of an MCP server to those it offers now.

    Names, permissions and rules of tools that it still offers are kept.

    Examples:
      llmctl tool refresh fs
    """
    from llmctl.engine.tools import servers

    app: App = ctx.obj
    changes = servers.refresh_server(app.hub("write"), server, app.runtime_env())
    for line in servers.describe_changes(changes):
        app.console.note(line)
    if app.console.format.is_json:
        emit_json(app.console, changes._asdict())
