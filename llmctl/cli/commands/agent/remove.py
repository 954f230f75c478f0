"""``llmctl agent remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import AgentArgument, agent_record
from llmctl.cli.console.prompts import confirm
from llmctl.core.humanize import pluralize
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
    agent = agents.get(database, ref)
    sessions = agent_record(database, agent.id)["sessions"]
    confirm(
        app.console, f'remove agent "{agent.name}" (the history of {pluralize(sessions, "session")} is kept)', yes=yes
    )
    agents.delete(database, agent.id)
    app.console.note(f'removed agent "{agent.name}"')
