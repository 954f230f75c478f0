"""``llmctl agent remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent.common import AgentArgument, agent_record
from llmctl.cli.console.prompts import confirm
from llmctl.store.records import agents


def remove(
    ctx: typer.Context,
    ref: AgentArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove an agent; its sessions keep their history.

    Examples:
      llmctl agent remove helper --yes
    """
    app: App = ctx.obj
    database = app.hub("write")
    row = agent_record(database, ref)
    confirm(app, f'remove agent "{row["name"]}" ({row["sessions"]} sessions keep their history)', yes=yes)
    agents.delete(database, row["id"])
    app.note(f'removed agent "{row["name"]}"')
