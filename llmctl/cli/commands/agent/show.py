"""``llmctl agent show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import COLUMNS, AgentArgument, agent_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record


@record_output
def show(ctx: typer.Context, ref: AgentArgument) -> None:
    """Show an agent.

    Examples:
      llmctl agent show helper
    """
    app: App = ctx.obj
    emit_record(app.console, agent_record(app.hub(), ref), COLUMNS)
