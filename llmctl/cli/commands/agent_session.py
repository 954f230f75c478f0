"""``llmctl agent session``: what ties an agent to a chat, and outlives the agent's code."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_made, emit_record, record
from llmctl.store.records import agents

COLUMNS = [
    Column("id", "id"),
    Column("agent_class", header="agent"),
    Column("name", header="chat"),
    Column("turns", "number"),
    Column("last_turn_at", "time", header="last turn"),
    Column("metadata", "json"),
    Column("chat_id", "id", shown=False),
    Column("agent_id", "id", shown=False),
    Column("agent", shown=False),
    Column("definition", "json", shown=False),
    Column("references", "json", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]

Session = Annotated[str, typer.Argument(metavar="SESSION", help="Session: id, its chat's, or the beginning of one.")]


@record
def new(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF|FILE", help="Agent by name, or its file.")],
    name: Annotated[str | None, typer.Option(metavar="N", help="Name of its chat.")] = None,
    metadata: common_options.Metadata = None,
    field: common_options.Field = None,
) -> None:
    """Begin a session of an agent, with what it should know.

    Examples:
      llmctl agent session new support --metadata user=ann --metadata ticket:=42
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    row = agent_changes.new_session(app, ref, name, metadata or [], field or [])
    emit_made(app, row, f'began a session of "{row["agent_class"]}"')


@record
def show(ctx: typer.Context, session: Session) -> None:
    """Show a session.

    Examples:
      llmctl agent session show 3f2a9c1e
    """
    app: App = ctx.obj
    emit_record(app, agents.session(app.hub(), session), COLUMNS)


@answer
def diff(ctx: typer.Context, session: Session) -> None:
    """Show what changed in an agent's definition since the session's last turn.

    Examples:
      llmctl agent session diff 3f2a9c1e
    """
    from llmctl.cli import agent_changes

    agent_changes.show_diff(ctx.obj, session)


def delete(
    ctx: typer.Context,
    session: Session,
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Forget what it cost, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a session with its chat and every copy of its text.

    Examples:
      llmctl agent session delete 3f2a9c1e --yes
    """
    from llmctl.cli import erasing

    app: App = ctx.obj
    erasing.delete(app, [agents.session(app.hub("write"), session)["chat_id"]], with_usage=with_usage, yes=yes)
