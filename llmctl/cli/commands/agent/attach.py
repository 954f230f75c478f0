"""``llmctl agent attach``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import AgentArgument, agent_record, attach_tools
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.engine.agents import files as agent_files
from llmctl.store.records import agents


@record_output
def attach(
    ctx: typer.Context,
    ref: AgentArgument,
    tool: Annotated[list[str], typer.Argument(metavar="TOOL[:PERMISSION]...", help="Tools to attach.")],
    permission: Annotated[
        str | None,
        typer.Option(metavar="PERMISSION", help="automatic, user-permitted or denied; short: auto, ask or deny."),
    ] = None,
) -> None:
    """Attach tools to an agent, or change their permission.

    Examples:
      llmctl agent attach helper time --permission automatic
      llmctl agent attach helper read_file:ask run_command:deny
    """
    app: App = ctx.obj
    database = app.hub("write")
    agent_id = agents.get(database, ref).id
    with database.transaction(durable=True):
        attach_tools(database, agent_id, [f"{name}:{permission}" if permission else name for name in tool])
        agent_files.update_fingerprint(database, agent_id)
    row = agent_record(database, agent_id)
    emit_change(app.console, row, f'tools of agent "{row["name"]}": {", ".join(row["tools"])}')
