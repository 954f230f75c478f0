"""``llmctl agent show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent.common import COLUMNS, AgentArgument, agent_record
from llmctl.cli.console.output import emit_record, record_output


@record_output
def show(ctx: typer.Context, ref: AgentArgument) -> None:
    """Show an agent.

    Examples:
      llmctl agent show helper
    """
    app: App = ctx.obj
    emit_record(app, agent_record(app.hub(), ref), COLUMNS)
