"""``llmctl agent list``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import COLUMNS
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list
from llmctl.store.records import agents


@list_output
def list_(ctx: typer.Context) -> None:
    """List agents.

    Examples:
      llmctl agent list --json
    """
    app: App = ctx.obj
    emit_list(app.console, agents.list_(app.hub()), COLUMNS, Extent("no agents yet"))
