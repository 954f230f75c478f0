"""``llmctl agent session new``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmctl.cli import argument_parsers, common_options
from llmctl.cli.app import App
from llmctl.cli.commands.shared.chat_fields import parse_chat_fields
from llmctl.cli.console.output import emit_change, record_output
from llmctl.core.stored_json import dumps
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agent_files
from llmctl.store.database import Database
from llmctl.store.records import agents as agent_rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow


@record_output
def new(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF|FILE", help="Agent by name, or its file.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of its chat.")] = None,
    metadata: common_options.MetadataOption = None,
    field: common_options.FieldOption = None,
) -> None:
    """Create a session of an agent, with metadata for its instructions.

    Examples:
      llmctl agent session new support --metadata user=ann --metadata ticket:=42
    """
    app: App = ctx.obj
    database = app.hub("create")
    row = _find_agent(app, database, ref)
    target = agents.resolve_target(database, agents.definition_from_row(database, row), app.env)
    persist = parse_chat_fields(app, database, (), field or ())
    chat = {"name": name, "source_id": row.id, "model": target.model, "provider": target.provider.nodellm_id}
    if name:
        chats.require_free_name(database, name)
    given = argument_parsers.parse_pairs(metadata or (), "--metadata")
    stored = dumps(given) if given else None
    session_id = agent_rows.add_session(database, {**chat, **persist.fields}, row.name, stored)
    session = agent_rows.get_session_record(database, session_id)
    emit_change(app, session, f'created a session of agent "{session["agent_class"]}"')


def _find_agent(app: App, database: Database, ref: str) -> AgentRow:
    """Return the agent of a REF, or of a file, which is applied first."""
    if not agent_files.is_file_ref(ref):
        return agent_rows.get(database, ref)
    path = os.path.realpath(ref)
    return agent_files.apply_definition(database, agent_files.read_definition(path, app.env), app.env, source=path)
