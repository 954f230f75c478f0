"""``llmctl agent apply``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import COLUMNS
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.engine.agents import files as agent_files
from llmctl.store.records import agents


@list_output
def apply(
    ctx: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Agent files: TOML, or FILE.py[:Class].")],
) -> None:
    """Create or update agents from files.

    A file has the keys of a prompt file, except the prompt: name, model or connection, instructions, tools, options …
    From then on the file is authoritative: each turn reads it again. A file may narrow what a tool may do, never
    widen it. A Python file has a class that derives from llmctl.Agent; it is loaded in a process of its own, and its
    functions become tools of type python.

    Examples:
      llmctl agent apply support.toml
      llmctl agent apply support.py
    """
    app: App = ctx.obj
    database = app.hub("create")
    records = []
    for name in files:
        path = os.path.realpath(name)
        row = agent_files.apply_definition(
            database, agent_files.read_definition(path, app.env), app.env, source=path, force=True
        )
        app.console.note(f'applied "{name}" to agent "{row.name}"')
        records.append(agents.get_record(database, row.id))
    emit_list(app.console, records, COLUMNS)
