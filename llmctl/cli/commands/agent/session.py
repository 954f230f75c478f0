"""Commands on agent sessions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import unified_diff
from typing import Annotated, Any

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.commands.shared.delete_chats import delete_chats
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import answer_output, record_output
from llmctl.cli.console.output import emit_change, emit_json, emit_record
from llmctl.cli.listing_args import resolve_last, sanitize
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agent_files
from llmctl.engine.agents.definition import Definition
from llmctl.engine.turn.plan import assign_custom_fields
from llmctl.store.database import Database
from llmctl.store.records import agents as agent_rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("agent_class", header="agent"),
    OutputColumn("name", header="chat"),
    OutputColumn("turns", "number"),
    OutputColumn("last_turn_at", "time", header="last turn"),
    OutputColumn("metadata", "json"),
    OutputColumn("chat_id", "id", is_default=False),
    OutputColumn("agent_id", "id", is_default=False),
    OutputColumn("agent", is_default=False),
    OutputColumn("definition", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

SessionArgument = Annotated[str, typer.Argument(metavar="SESSION", help="Session: id, id prefix, its chat, or last.")]


@record_output
def new(
    ctx: typer.Context,
    flags: common_options.SessionFlags,
    ref: Annotated[str, typer.Argument(metavar="REF|FILE", help="Agent by name, or its file.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of its chat.")] = None,
) -> None:
    """Create a session of an agent, with metadata for its instructions.

    Examples:
      llmctl agent session new support --metadata user=ann --metadata ticket:=42
    """
    app: App = ctx.obj
    database = app.hub("create")
    row = _find_agent(app, database, ref)
    target = agents.resolve_target(database, agents.definition_from_row(database, row), app.env)
    options = assign_custom_fields(database, flags.replace(metadata=None))
    chat = {"name": name, "source_id": row.id, "model": target.model, "provider": target.provider.nodellm_id}
    if name:
        chats.require_free_name(database, name)
    session_metadata = dict(flags.metadata)
    stored = dumps(session_metadata) if session_metadata else None
    session_id = agent_rows.add_session(database, {**chat, **options.fields}, row.name, stored)
    session = agent_rows.get_session_record(database, session_id)
    emit_change(app.console, session, f'created a session of agent "{session["agent_class"]}"')


def _find_agent(app: App, database: Database, ref: str) -> AgentRow:
    """Return the agent of a REF, or of a file, which is applied first."""
    if not agent_files.is_file_ref(ref):
        return agent_rows.get(database, ref)
    path = os.path.realpath(ref)
    return agent_files.apply_definition(database, agent_files.read_definition(path, app.env), app.env, source=path)


@record_output
def show(ctx: typer.Context, session: SessionArgument) -> None:
    """Show a session.

    Examples:
      llmctl agent session show 3f2a9c1e
    """
    app: App = ctx.obj
    database = app.hub()
    row = agent_rows.get_session(database, resolve_last(app, "session", session))
    emit_record(app.console, agent_rows.get_session_record(database, row.id), COLUMNS)


@answer_output
def diff(ctx: typer.Context, session: SessionArgument) -> None:
    """Show how an agent's definition changed since the session's last turn.

    Examples:
      llmctl agent session diff 3f2a9c1e
    """
    app: App = ctx.obj
    database = app.hub()
    session_row = agent_rows.get_session(database, resolve_last(app, "session", session))
    before = loads(session_row.definition, {})
    now = _current_definition(app, database, session_row.chat_id)
    if app.console.format.is_json:
        emit_json(app.console, {"changed": before != now, "before": before or None, "now": now})
        return
    if not before:
        app.console.note("this session has had no turn yet")
        return
    lines = unified_diff(_to_lines(before), _to_lines(now), "last turn", "now", lineterm="", n=1)
    app.console.io.write(sanitize(app.console, "".join(f"{line}\n" for line in lines)))
    if before == now:
        app.console.note("nothing changed since the last turn")


def _current_definition(app: App, database: Database, chat_id: str) -> dict[str, Any]:
    """Return the definition as it is now: of the agent's file if it still exists, else of the hub."""
    agent = agents.find_chat_agent(database, chats.get(database, chat_id))
    assert agent is not None
    path = agent.source_file
    if not path or not agent_files.source_exists(path):
        return agents.describe_definition(database, agents.definition_from_row(database, agent))
    return agents.describe_definition(
        database, _with_permissions(database, agent_files.read_definition(path, app.env), agent)
    )


def _with_permissions(database: Database, definition: Definition, agent: AgentRow) -> Definition:
    """Return a file's definition as the hub would have it: with the permissions that its owner gave."""
    granted = agent_rows.tool_permissions(database, agent.id)
    tools = tuple(
        text if ":" in text else f"{text}:{granted.get(text, 'user-permitted')}" for text in definition.turn.tools
    )
    stored = agents.definition_from_row(database, agent).turn
    turn = definition.turn.replace(tools=tools, connection=stored.connection, model=stored.model)
    return replace(definition, turn=turn)


def _to_lines(definition: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in definition.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
        lines += [f"{name}: {line}" if number == 0 else f"  {line}" for number, line in enumerate(text.splitlines())]
    return lines


def delete(
    ctx: typer.Context,
    session: SessionArgument,
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Also delete its usage and cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a session, its chat and every copy of the text.

    Examples:
      llmctl agent session delete 3f2a9c1e --yes
    """
    app: App = ctx.obj
    database = app.hub("write")
    chat_id = agent_rows.get_session(database, resolve_last(app, "session", session)).chat_id
    delete_chats(app, [chat_id], with_usage=with_usage, yes=yes)
