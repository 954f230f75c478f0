"""What the commands of agents share: columns, arguments, and storing a definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.core.options import NULL, TurnOptions
from llmctl.core.text_files import read_text_file
from llmctl.engine.agents.definition import Definition
from llmctl.store.database import Database, Row
from llmctl.store.records import agents as agent_rows
from llmctl.store.records.types import AgentRow

COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("name"),
    OutputColumn("connection"),
    OutputColumn("tools", "json"),
    OutputColumn("sessions", "number"),
    OutputColumn("last_at", "time", header="last used"),
    OutputColumn("description"),
    OutputColumn("instructions", is_default=False),
    OutputColumn("options", "json", is_default=False),
    OutputColumn("settings", "json", is_default=False),
    OutputColumn("source_file", is_default=False),
    OutputColumn("version_hash", is_default=False),
    OutputColumn("chat_model_id", "id", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

AgentArgument = Annotated[str, typer.Argument(metavar="REF", help="Agent: name, id, or id prefix.")]
InstructionsOption = Annotated[
    str | None, typer.Option(metavar="TEXT|@FILE", help="Instructions; may be a Jinja template over the metadata.")
]
SubagentOption = Annotated[list[str] | None, typer.Option("--agent", metavar="NAME", help="Subagent. Repeatable.")]


@dataclass(frozen=True, slots=True)
class AgentArgs:
    """The flags of ``agent create`` and ``agent edit``; what is None or empty stays as it is."""

    name: str | None
    description: str | None
    instructions: str | None
    agents: list[str]
    turn: TurnOptions


def apply_args(database: Database, definition: Definition, args: AgentArgs) -> Definition:
    """Return a definition with the changes that the flags make."""
    old = definition.turn
    new = args.turn
    options = {name: value for name, value in {**old.options, **new.options}.items() if value is not None}
    turn = new.over(old).replace(options=options, tools=_merge_tools(old.tools, new.tools))
    if turn.thinking == NULL:
        turn = turn.replace(thinking=None)
    if new.connection or new.model:
        turn = turn.replace(connection=new.connection, model=new.model)
    subagents = (agent_rows.get(database, ref).name for ref in args.agents)
    return replace(
        definition,
        name=args.name or definition.name,
        description=args.description if args.description is not None else definition.description,
        system=_read_text(args.instructions) if args.instructions is not None else definition.system,
        turn=turn,
        agents=tuple(dict.fromkeys((*definition.agents, *subagents))),
    )


def store_agent(app: App, database: Database, definition: Definition, row: AgentRow | None = None) -> Row:
    """Write a definition, new or over the agent's row, and return the agent's record."""
    from llmctl.engine.agents import agents
    from llmctl.engine.agents import files as agent_files

    with database.transaction(durable=True):
        connection_id, model = agents.resolve_connection(database, definition, app.env)
        columns = agents.definition_columns(agents.with_model(definition, model), connection_id)
        agent_id = row.id if row else agent_rows.add(database, columns)
        if row:
            agent_rows.update(database, agent_id, columns)
        attach_tools(database, agent_id, definition.turn.tools)
        agent_files.update_fingerprint(database, agent_id)
    return agent_record(database, agent_id)


def attach_tools(database: Database, agent_id: str, tools: Sequence[str]) -> None:
    """Attach tools given as ``NAME[:PERMISSION]`` to an agent."""
    from llmctl.engine.tools import toolset

    for text in tools:
        name, permission = toolset.parse_grant(text)
        for tool in toolset.get_tools(database, name):
            agent_rows.attach_tool(database, agent_id, str(tool.id), permission)


def agent_record(database: Database, agent_id: str) -> Row:
    """Return an agent as commands print it."""
    return agent_rows.get_record(database, agent_id)


def _merge_tools(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    from llmctl.engine.tools import toolset

    merged = dict(map(toolset.parse_grant, old)) | dict(map(toolset.parse_grant, new))
    return tuple(f"{name}:{permission}" for name, permission in merged.items())


def _read_text(text: str) -> str:
    """Return a text, or the content of the file for ``@FILE``."""
    return read_text_file(text[1:]).rstrip("\n") if text.startswith("@") else text
