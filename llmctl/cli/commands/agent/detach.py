"""``llmctl agent detach``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import AgentArgument, agent_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import NotFoundError
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agent_files
from llmctl.engine.tools import toolset
from llmctl.store.database import Database
from llmctl.store.records import agents as agent_rows
from llmctl.store.records.types import AgentRow


@record_output
def detach(
    ctx: typer.Context,
    ref: AgentArgument,
    tool: Annotated[list[str], typer.Argument(metavar="TOOL...", help="Tools, or agents it may call, to detach.")],
) -> None:
    """Detach tools from an agent.

    Examples:
      llmctl agent detach helper time
    """
    app: App = ctx.obj
    database = app.hub("write")
    agent = agent_rows.get(database, ref)
    with database.transaction(durable=True):
        _detach(database, agent, tool)
        agent_files.update_fingerprint(database, agent.id)
    row = agent_record(database, agent.id)
    emit_change(app.console, row, f'tools of agent "{row["name"]}": {", ".join(row["tools"]) or "none"}')


def _detach(database: Database, agent: AgentRow, names: list[str]) -> None:
    definition = agents.definition_from_row(database, agent)
    subagents = tuple(name for name in definition.agents if name not in names)
    columns = agents.definition_columns(replace(definition, agents=subagents), agent.chat_model_id)
    agent_rows.update(database, agent.id, {"settings": columns["settings"]})
    for name in names:
        if name in definition.agents:
            continue
        found = toolset.get_tools(database, name)
        detached = [agent_rows.detach_tool(database, agent.id, str(tool.id)) for tool in found]
        if not any(detached):
            raise NotFoundError(f'agent "{agent.name}" has no tool "{name}"')
