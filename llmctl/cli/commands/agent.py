"""``llmctl agent``: instructions, tools and options on top of a connection, and sessions that outlive their code."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.commands.agent_session import COLUMNS
from llmctl.cli.console.output import Column, answer, emit_list, emit_made, emit_record, listing, record
from llmctl.cli.turn.flags import asking
from llmctl.store.records import agents

_COLUMNS = [
    Column("id", "id", shown=False),
    Column("name"),
    Column("connection"),
    Column("tools", "json"),
    Column("sessions", "number"),
    Column("last_at", "time", header="last used"),
    Column("description"),
    Column("instructions", shown=False),
    Column("options", "json", shown=False),
    Column("settings", "json", shown=False),
    Column("source_file", shown=False),
    Column("version_hash", shown=False),
    Column("chat_model_id", "id", shown=False),
    Column("references", "json", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]
Ref = Annotated[str, typer.Argument(metavar="REF", help="Agent: name, id, or its beginning.")]
Instructions = Annotated[
    str | None, typer.Option(metavar="TEXT|@FILE", help="What it is told; may be a jinja2 template over the metadata.")
]
ToolFlags = Annotated[
    list[str] | None, typer.Option("--tool", "-T", metavar="NAME[:PERMISSION]", help="Tool it may use.")
]
AgentFlags = Annotated[list[str] | None, typer.Option("--agent", metavar="NAME", help="Agent it may ask.")]
Thinking = Annotated[str | None, typer.Option(metavar="EFFORT", help="none, low, medium, high or a number of tokens.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@record
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    connection: common_options.Connection = None,
    model: common_options.Model = None,
    instructions: Instructions = None,
    tool: ToolFlags = None,
    agent: AgentFlags = None,
    option: common_options.Options = None,
    thinking: Thinking = None,
    description: common_options.Description = None,
) -> None:
    """Make an agent.

    It stands on a connection, or on the one that --model leads to. PERMISSION is automatic, user-permitted or
    denied; auto, ask or deny.

    Examples:
      llmctl agent create helper --connection echo --instructions "You help." --tool time:auto
      llmctl agent create support -m echo --instructions "You help {{ user }}."
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    wishes = agent_changes.Wishes(
        name, description, connection, model, instructions, tool or [], agent or [], option or [], thinking
    )
    row = agent_changes.create(app, wishes)
    emit_made(app, row, f'made the agent "{row["name"]}"')


@listing
def apply(
    ctx: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Agents' files: TOML, or FILE.py[:Class].")],
) -> None:
    """Bring agents into the hub as their files say.

    A file has the keys of a prompt file, less the prompt: name, model or connection, instructions, tools, options …
    From then on the file counts: each turn reads it anew. A file may narrow what a tool may do, never widen it.
    A Python file has a class that derives from llmctl.Agent; it is opened in a process of its own, and its functions
    become tools of the type python.

    Examples:
      llmctl agent apply support.toml
      llmctl agent apply support.py
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    emit_list(app, agent_changes.apply(app, files), _COLUMNS)


@listing
def list_(ctx: typer.Context) -> None:
    """List agents.

    Examples:
      llmctl agent list --json
    """
    app: App = ctx.obj
    emit_list(app, agents.listed(app.hub()), _COLUMNS)


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show an agent.

    Examples:
      llmctl agent show helper
    """
    app: App = ctx.obj
    database = app.hub()
    emit_record(app, agents.record(database, agents.get(database, ref)), _COLUMNS)


@record
def edit(
    ctx: typer.Context,
    ref: Ref,
    name: Annotated[str | None, typer.Option(metavar="N", help="Another name.")] = None,
    connection: common_options.Connection = None,
    model: common_options.Model = None,
    instructions: Instructions = None,
    tool: ToolFlags = None,
    agent: AgentFlags = None,
    option: common_options.Options = None,
    thinking: Thinking = None,
    description: common_options.Description = None,
) -> None:
    """Change an agent; its sessions go on with what it is then.

    An option of the value null is taken away. Tools that are named are added, or get another permission.

    Examples:
      llmctl agent edit helper --instructions @helper.md -o temperature=0
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    wishes = agent_changes.Wishes(
        name, description, connection, model, instructions, tool or [], agent or [], option or [], thinking
    )
    row = agent_changes.edit(app, ref, wishes)
    emit_made(app, row, f'changed the agent "{row["name"]}"')


def remove(ctx: typer.Context, ref: Ref, yes: Yes = False) -> None:
    """Remove an agent; its sessions keep their history.

    Examples:
      llmctl agent remove helper --yes
    """
    from llmctl.cli.console.prompts import confirm

    app: App = ctx.obj
    database = app.hub("write")
    row = agents.record(database, agents.get(database, ref))
    confirm(app, f'remove the agent "{row["name"]}" ({row["sessions"]} sessions keep their history)', yes=yes)
    agents.remove(database, row["id"])
    app.note(f'removed the agent "{row["name"]}"')


@record
def attach(
    ctx: typer.Context,
    ref: Ref,
    tool: Annotated[list[str], typer.Argument(metavar="TOOL[:PERMISSION]...", help="Tools it may use.")],
    permission: Annotated[
        str | None, typer.Option(metavar="P", help="automatic, user-permitted or denied; auto, ask or deny.")
    ] = None,
) -> None:
    """Let an agent use tools, or change how freely it may.

    Examples:
      llmctl agent attach helper time --permission automatic
      llmctl agent attach helper read_file:ask run_command:deny
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    row = agent_changes.attach(app, ref, [f"{name}:{permission}" if permission else name for name in tool])
    emit_made(app, row, f'the agent "{row["name"]}" may use: {", ".join(row["tools"])}')


@record
def detach(
    ctx: typer.Context,
    ref: Ref,
    tool: Annotated[
        list[str], typer.Argument(metavar="TOOL...", help="Tools to take away, or agents that it may ask.")
    ],
) -> None:
    """Take tools from an agent.

    Examples:
      llmctl agent detach helper time
    """
    from llmctl.cli import agent_changes

    app: App = ctx.obj
    row = agent_changes.detach(app, ref, tool)
    emit_made(app, row, f'the agent "{row["name"]}" may use: {", ".join(row["tools"]) or "nothing"}')


@answer
@asking
def run(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="REF|FILE", help="Agent by name, or its file.")],
    prompt: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to say.")] = None,
    session: Annotated[str | None, typer.Option(metavar="REF", help="Go on with this session.")] = None,
    continue_: Annotated[bool, typer.Option("--continue", "-c", help="Go on with its newest session.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Go on with the session of that name, or begin it.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="K=V", help="Value for the instructions in this turn alone."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if the session is another agent's.")] = False,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Keep the conversation open.")] = False,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text, only the ledger row.")] = False,
) -> None:
    """Talk to an agent, in a new session or in one that is gone on with.

    Model, tools, instructions and options are those of its definition as it is now; history and metadata come from
    the hub. Without a prompt an unfinished turn is finished.

    Examples:
      llmctl agent run helper "what time is it?"
      llmctl agent run support --metadata user=ann -c "and the refund?"
    """
    app: App = ctx.obj
    app.converse(
        words=tuple(prompt or ()),
        agent=agent,
        params=tuple(param or ()),
        session=session,
        continue_=continue_,
        name=name,
        force=force,
        interactive=interactive,
        no_log=no_log,
    )


@listing
def sessions(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="Of this agent.")] = None,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List sessions, the newest first.

    Examples:
      llmctl agent sessions support
    """
    app: App = ctx.obj
    database = app.hub()
    rows = agents.sessions(database, agents.get(database, ref)["id"] if ref else None)
    emit_list(app, rows[: looking.limit(limit)], COLUMNS)
