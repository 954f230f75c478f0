"""``llmctl agent create``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.commands.agent import (
    AgentArgs,
    InstructionsOption,
    SubagentOption,
    apply_args,
    store_agent,
)
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import UsageError
from llmctl.engine.agents import files as agent_files
from llmctl.engine.agents.definition import Definition
from llmctl.store.records import agents


@record_output
def create(
    ctx: typer.Context,
    flags: common_options.AgentFlags,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the agent.")],
    instructions: InstructionsOption = None,
    agent: SubagentOption = None,
    description: common_options.DescriptionOption = None,
) -> None:
    """Create an agent.

    It uses the given connection, or the one that --model resolves to. PERMISSION is automatic, user-permitted or
    denied; auto, ask and deny are short for them.

    Examples:
      llmctl agent create helper --connection echo --instructions "You help." --tool time:auto
      llmctl agent create support -m echo --instructions "You help {{ user }}."
    """
    app: App = ctx.obj
    if not flags.connection and not flags.model:
        raise UsageError("an agent requires a connection", hint="pass --connection NAME or --model REF")
    if agent_files.is_file_ref(name):
        raise UsageError(f'agent name must not be a file name, got "{name}"', hint=f"llmctl agent apply {name}")
    database = app.hub("create")
    if agents.find_by_name(database, name):
        raise UsageError(f'agent "{name}" already exists', hint=f"llmctl agent edit {name}")
    args = AgentArgs(name, description, instructions, agent or [], flags)
    row = store_agent(app, database, apply_args(database, Definition(name=name), args))
    emit_change(app.console, row, f'created agent "{row["name"]}"')
