"""``llmctl tool add``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool.spec import ToolFlags, parse_tool_spec
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.store.records import tools


@record_output
def add(
    ctx: typer.Context,
    flags: ToolFlags,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name, as models call it.")] = None,
    type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="command, python, http, mcp, nextJsScript or builtin.")
    ] = None,
    mcp: Annotated[
        str | None,
        typer.Option(metavar="CMD|URL", help="Add or update the tools of this MCP server, named NAME_tool."),
    ] = None,
    builtin: Annotated[str | None, typer.Option(metavar="NAME", help="Built-in tool to use.")] = None,
) -> None:
    """Add a tool.

    Its type follows from its flags. Commands are not read by a shell, and an argument never becomes a flag or several
    words. With --shell it is one word, too: a {slot} stands outside quotes, as in 'echo "Hello, "{name}'. Commands
    that would execute an argument are refused, such as eval {x} and sh -c {x}.

    A program gets PATH, HOME and similar variables, never a key that is not named with --env. Built-in tools need not
    be added: time, read_file, list_files, fetch_url, run_command; the last two reach what --host and --command name.

    Examples:
      llmctl tool add count --command 'wc -w {file}' --description "Count the words of a file"
      llmctl tool add weather --url 'https://wttr.in/{city}?format=3'
      llmctl tool add docs --builtin read_file --folder ./docs
      llmctl tool add fs --mcp 'npx -y @modelcontextprotocol/server-filesystem .'
      llmctl chat -T fs:ask "what is here?"
    """
    from llmctl.engine.connections import trust
    from llmctl.engine.tools import servers
    from llmctl.engine.tools.define import new_tool_columns

    app: App = ctx.obj
    spec = parse_tool_spec(flags, name, type, server=mcp, builtin=builtin)
    new = new_tool_columns(spec, app.runtime_env(), app.hub_path)
    database = app.hub("create")
    if mcp and name and (old := servers.list_group(database, name)):
        for line in servers.describe_changes(servers.store_changes(database, old, new, app.env)):
            app.console.note(line)
        return
    for problem in new.problems:
        app.console.note(problem)
    for added in tools.add(database, *new.columns):
        trust.add_made_tool(database, tools.to_tool(added), app.env)
        emit_change(app.console, tools.get_record(database, added.id), f'added tool "{added.name}"')
