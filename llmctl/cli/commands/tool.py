"""``llmctl tool``: what models and people may run, and its runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_list, emit_made, emit_record, listing, record
from llmctl.cli.toolflags import describing
from llmctl.store.records import invocations as runs
from llmctl.store.records import permission_rules, tools

_COLUMNS = [
    Column("id", "id", shown=False),
    Column("name"),
    Column("type"),
    Column("description"),
    Column("schema", "json", shown=False),
    Column("data", "json", shown=False),
    Column("rules", "json", shown=False),
    Column("references", "json", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]
_RUNS = [
    Column("id", "id"),
    Column("name"),
    Column("status", "status"),
    Column("arguments", "json"),
    Column("error"),
    Column("duration", "duration"),
    Column("created_at", "time", header="asked"),
    *(Column(name, shown=False) for name in ("chat", "agent", "chat_id", "result", "message_id", "tool_call_id")),
    *(Column(name, "json", shown=False) for name in ("decision", "parameters", "references")),
    *(Column(name, "number", shown=False) for name in ("exit_status", "step")),
    *(Column(name, "id", shown=False) for name in ("tool_id", "text_log_id", "job_id")),
    *(Column(name, "time", shown=False) for name in ("started_at", "finished_at", "updated_at")),
]
_WAITING = [
    Column("id", "id"),
    Column("created_at", "time", header="age"),
    Column("agent"),
    Column("chat"),
    Column("name", header="tool"),
    Column("arguments", "json"),
    Column("chat_id", "id", shown=False),
]

Ref = Annotated[str, typer.Argument(metavar="REF", help="Tool: name, id, or its beginning.")]
Continue = Annotated[bool, typer.Option("--continue", "-c", help="Go on with the turn.")]
Detach = Annotated[bool, typer.Option("--detach", help="Go on in a job of its own; print its id.")]
Refs = Annotated[list[str], typer.Argument(metavar="ID...", help="Calls: ids, or their beginnings.")]


@record
@describing
def add(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="What models call it.")] = None,
    type: Annotated[
        str | None, typer.Option(metavar="T", help="command, python, http, mcp, nextJsScript or builtin.")
    ] = None,
    mcp: Annotated[
        str | None, typer.Option(metavar="CMD|URL", help="Add the tools of this MCP server, named NAME_tool.")
    ] = None,
    builtin: Annotated[str | None, typer.Option(metavar="B", help="The built-in tool that it is.")] = None,
) -> None:
    """Add a tool.

    Its type is told by what it is made of. No shell reads a command, and no argument becomes a flag or two words. A
    program gets PATH, HOME and the like of the environment, never a key that is not named with --env. Built in, with
    no need to add them: time, read_file, list_files, fetch_url, run_command; the last two reach what --host and
    --command name.

    Examples:
      llmctl tool add count --command 'wc -w {file}' --description "Count the words of a file"
      llmctl tool add weather --url 'https://wttr.in/{city}?format=3'
      llmctl tool add docs --builtin read_file --folder ./docs
      llmctl tool add fs --mcp 'npx -y @modelcontextprotocol/server-filesystem .'
    """
    from llmctl.cli.toolwishes import wish
    from llmctl.engine.tools.define import made

    app: App = ctx.obj
    columns = made(wish(app, name, type, server=mcp, builtin=builtin), app.surroundings(), app.hub_path)
    rows = tools.add(app.hub("create"), *columns)
    for row in rows:
        emit_made(app, row, f'made the tool "{row["name"]}"')


@listing
def list_(ctx: typer.Context) -> None:
    """List tools.

    Those built in (time, read_file, list_files, fetch_url, run_command) are kept here once they are used or changed.

    Examples:
      llmctl tool list
    """
    from llmctl.engine.tools import toolset

    app: App = ctx.obj
    database = app.hub()
    emit_list(app, tools.listed(database), looking.with_fields(database, tools.TABLE, _COLUMNS))
    if app.io.stdout_tty and (names := toolset.unused_builtins(database)):
        app.note(f"built in and ready to use: {', '.join(names)}")


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show a tool, and the rules that are remembered of it.

    Examples:
      llmctl tool show weather
    """
    app: App = ctx.obj
    row = tools.get(app.hub(), ref)
    emit_record(app, row | {"rules": permission_rules.of_tool(app.hub(), row["id"])}, _COLUMNS_OF_ONE)


@record
@describing
def edit(
    ctx: typer.Context,
    ref: Ref,
    name: Annotated[str | None, typer.Option(metavar="N", help="Another name.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="K=GLOB|SCHEMA|*", help="Remember: such calls may run.")
    ] = None,
    deny: Annotated[list[str] | None, typer.Option(metavar="K=GLOB|SCHEMA|*", help="Remember: such may not.")] = None,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="The rules hold in this chat only.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the rules there are.")] = False,
) -> None:
    """Change a tool, or what is remembered of it.

    What is not named stays; --data '{"timeout": null}' takes a word away. A change takes back approvals that were
    given before it. Rules of the whole hub hold for people too: a denied tool cannot be invoked.

    Examples:
      llmctl tool edit weather --timeout 5
      llmctl tool edit read_file --allow 'path=docs/*'
      llmctl tool edit run_command --deny '*'
    """
    from llmctl.cli.toolwishes import remember, wish
    from llmctl.engine.tools.define import changed

    app: App = ctx.obj
    database = app.hub("create")
    old = _found(app, ref)
    changes = changed(wish(app, name), old)
    row = tools.update(database, old["id"], changes) if changes else old
    if forget:
        permission_rules.forget(database, row["id"])
    remember(app, database, row["id"], allow or (), deny or (), looking.chat_id(database, chat))
    emit_made(app, row, f'changed the tool "{row["name"]}"')


def remove(ctx: typer.Context, ref: Ref) -> None:
    """Remove a tool. Its runs stay.

    Examples:
      llmctl tool remove weather
    """
    app: App = ctx.obj
    row = tools.get(app.hub("write"), ref)
    tools.remove(app.hub("write"), row["id"])
    app.note(f'removed the tool "{row["name"]}"')


@answer
def invoke(
    ctx: typer.Context,
    ref: Ref,
    args: Annotated[str | None, typer.Option(metavar="JSON|@FILE|-", help="The arguments, as an object.")] = None,
    arg: Annotated[list[str] | None, typer.Option(metavar="K=V|K:=JSON", help="One argument.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Seconds that it may take.")] = None,
) -> None:
    """Run a tool yourself, the same way a model does.

    The result goes to stdout. 11: the arguments do not meet the schema; 10: a rule denies it; 6: it took too long
    or could not be reached; 5: it failed. With --json the run's row comes either way.

    Examples:
      llmctl tool invoke time --arg zone=Europe/Rome
      echo '{"path": "."}' | llmctl tool invoke list_files --args -
    """
    from llmctl.cli.toolruns import run

    run(ctx.obj, ref, args, arg or [], timeout)


@listing
def invocations(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this run, with its log.")] = None,
    status: Annotated[str | None, typer.Option(metavar="S", help="Of this status.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="REF", help="Of this tool.")] = None,
    chat: common_options.OfChat = None,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List runs of tools, the newest first; with an id show that one.

    Examples:
      llmctl tool invocations --status failed
      llmctl tool invocations 3f2a9c1e
    """
    app: App = ctx.obj
    if ref is not None:
        from llmctl.cli.toolruns import shown

        emit_record(app, document := shown(app, ref), [Column(name, _kind(name)) for name in document])
        return
    database = app.hub()
    found = looking.one_of(status, runs.STATUSES, "status")
    named = tools.find(database, tool) if tool else None
    rows = runs.listed(
        database, found, named["id"] if named else tool, looking.chat_id(database, chat), looking.limit(limit)
    )
    emit_list(app, rows, looking.with_fields(database, "tool_invocations", _RUNS))


@listing
def pending(ctx: typer.Context) -> None:
    """List the calls that wait for your decision, the oldest first.

    Examples:
      llmctl tool pending
    """
    from llmctl.engine.tools.approvals import undecided

    app: App = ctx.obj
    emit_list(app, undecided(app.hub()), _WAITING)


@answer
def approve(
    ctx: typer.Context,
    refs: Refs,
    continue_: Continue = False,
    detach: Detach = False,
    always: Annotated[bool, typer.Option("--always", help="From now on, in this chat or of this agent.")] = False,
    because: Annotated[str | None, typer.Option(metavar="T", help="Why; kept with the run.")] = None,
) -> None:
    """Let a call run that waits: this tool with these arguments, nothing else.

    Without --continue it runs when the chat goes on: llmctl chat --chat REF. More: llmctl help permissions

    Examples:
      llmctl tool approve 3f2a9c1e --continue
    """
    from llmctl.cli.toolruns import approve as decide

    decide(ctx.obj, refs, because, always=always, continues=continue_, detach=detach)


@answer
def deny(
    ctx: typer.Context,
    refs: Refs,
    because: Annotated[str | None, typer.Option(metavar="T", help="Why; the model is told.")] = None,
    continue_: Continue = False,
    detach: Detach = False,
    never: Annotated[bool, typer.Option("--never", help="From now on, in this chat or of this agent.")] = False,
) -> None:
    """Refuse a call that waits. The model is told, and goes on without it.

    Examples:
      llmctl tool deny 3f2a9c1e --because "not on a Friday"
    """
    from llmctl.cli.toolruns import deny as decide

    decide(ctx.obj, refs, because, never=never, continues=continue_, detach=detach)


def _found(app: App, ref: str) -> Any:
    """Return a tool that is to be changed; a built-in one is put into the hub for that."""
    from llmctl.engine.tools.toolset import tool_of

    return tools.get(app.hub("create"), str(tool_of(app.hub("create"), ref).id))


def _kind(name: str) -> Any:
    return {column.name: column.kind for column in _RUNS}.get(name, "text")


_COLUMNS_OF_ONE = [column._replace(shown=True) for column in _COLUMNS]
