"""``llmctl agent show``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent import COLUMNS, AgentArgument, agent_record
from llmctl.cli.console.columns import ColumnKind, OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.core.errors import LlmctlError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps, loads
from llmctl.store.database import Database, Row
from llmctl.store.records import agents
from llmctl.store.records.types import AgentRow


@record_output
def show(ctx: typer.Context, ref: AgentArgument) -> None:
    """Show an agent.

    A terminal shows the whole definition: model, instructions, options, and tools with their permissions.

    Examples:
      llmctl agent show helper
      llmctl agent show helper --json
    """
    app: App = ctx.obj
    database = app.hub()
    record = agent_record(database, ref)
    if app.console.io.stdout_tty and app.console.format.kind == "auto" and not app.console.format.columns:
        row = _describe(app, database, agents.get(database, ref), record)
        kinds: dict[str, ColumnKind] = {"last_used": "time", "sessions": "number"}
        columns = [OutputColumn(name, kinds.get(name, "text"), header=name.replace("_", " ")) for name in row]
        emit_record(app.console, row, columns)
    else:
        emit_record(app.console, record, COLUMNS)


def _describe(app: App, database: Database, agent: AgentRow, record: Row) -> dict[str, Any]:
    """Return what a person wants to know of an agent, without what is not set."""
    from llmctl.engine.agents.agents import definition_from_row, resolve_target

    connection: str | None = record["connection"]
    turn, model = TurnOptions(), None
    try:
        definition = definition_from_row(database, agent)
        turn, model = definition.turn, resolve_target(database, definition, app.env).model
    except LlmctlError as error:  # a connection that was removed or cannot be used: the rest is shown
        connection = f"{connection or 'none'} ({error.message})"
    options = {name: value for name, value in turn.to_dict().items() if name not in _SHOWN_APART}
    values = {
        "name": agent.name,
        "description": agent.description,
        "model": model,
        "connection": connection,
        "options": _format_pairs({**turn.options, **options}, "="),
        "tools": _format_pairs(record["tools"], ": "),
        "agents": ", ".join(record["settings"].get("agents") or ()),
        "instructions": agent.instructions,
        "file": agent.source_file,
        "version": agent.version_hash,
        "sessions": record["sessions"],
        "last_used": record["last_at"],
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


#: Options of the definition that have a line of their own.
_SHOWN_APART = ("connection", "model", "tools", "options")


def _format_pairs(pairs: Mapping[str, Any] | str | None, mark: str) -> str:
    values = loads(pairs, {}) if isinstance(pairs, str | None) else pairs
    return "\n".join(
        f"{name}{mark}{value if isinstance(value, str) else dumps(value)}" for name, value in values.items()
    )
