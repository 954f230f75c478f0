"""``llmctl agent edit``."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.commands.agent import (
    AgentArgs,
    AgentArgument,
    InstructionsOption,
    SubagentOption,
    apply_args,
    store_agent,
)
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import UsageError
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agent_files
from llmctl.store.records import agents as agent_rows


@record_output
def edit(
    ctx: typer.Context,
    flags: common_options.AgentFlags,
    ref: AgentArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name.")] = None,
    instructions: InstructionsOption = None,
    agent: SubagentOption = None,
    description: common_options.DescriptionOption = None,
) -> None:
    """Edit an agent; its sessions use the new definition.

    The value null removes an option. --tool adds a tool or changes its permission.

    Examples:
      llmctl agent edit helper --instructions @helper.md -o temperature=0
    """
    app: App = ctx.obj
    database = app.hub("write")
    row = agent_rows.get(database, ref)
    if row.source_file and agent_files.source_exists(row.source_file):
        raise UsageError(
            f'agent "{row.name}" is defined in "{row.source_file}"', hint="edit that file; each turn reads it"
        )
    if not flags.to_dict() and (name, instructions, agent, description) == (None,) * 4:
        raise UsageError(
            "nothing to change",
            hint=f"for example: llmctl agent edit {shlex.quote(row.name)} --instructions @clerk.md; also --name, "
            "--description, --model, --connection, -o, --thinking, --tool and --agent",
        )
    args = AgentArgs(name, description, instructions, agent or [], flags)
    record = store_agent(app, database, apply_args(database, agents.definition_from_row(database, row), args), row)
    emit_change(app.console, record, f'updated agent "{record["name"]}"')
