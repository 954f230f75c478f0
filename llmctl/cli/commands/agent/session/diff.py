"""``llmctl agent session diff``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from difflib import unified_diff
from typing import Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent.session.common import SessionArgument
from llmctl.cli.console.output import answer_output, emit_json
from llmctl.cli.listing_args import sanitize
from llmctl.core.stored_json import loads
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agent_files
from llmctl.engine.agents.definition import Definition
from llmctl.store.database import Database
from llmctl.store.records import agents as agent_rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow


@answer_output
def diff(ctx: typer.Context, session: SessionArgument) -> None:
    """Show how an agent's definition changed since the session's last turn.

    Examples:
      llmctl agent session diff 3f2a9c1e
    """
    app: App = ctx.obj
    database = app.hub()
    session_row = agent_rows.get_session(database, session)
    before = loads(session_row.definition, {})
    now = _current_definition(app, database, session_row.chat_id)
    if app.format.is_json:
        emit_json(app, {"changed": before != now, "before": before or None, "now": now})
        return
    if not before:
        app.note("this session has had no turn yet")
        return
    lines = unified_diff(_to_lines(before), _to_lines(now), "last turn", "now", lineterm="", n=1)
    app.io.write(sanitize(app, "".join(f"{line}\n" for line in lines)))
    if before == now:
        app.note("nothing changed since the last turn")


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
    tools = tuple(text if ":" in text else f"{text}:{granted.get(text, 'user-permitted')}" for text in definition.tools)
    stored = agents.definition_from_row(database, agent)
    return replace(definition, tools=tools, connection=stored.connection, model=stored.model)


def _to_lines(definition: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in definition.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
        lines += [f"{name}: {line}" if number == 0 else f"  {line}" for number, line in enumerate(text.splitlines())]
    return lines
