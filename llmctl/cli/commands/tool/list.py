"""``llmctl tool list``."""

from __future__ import annotations

import typer

from llmctl.cli import listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.tool import COLUMNS, tool_record
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list
from llmctl.store.records import tools


@list_output
def list_(ctx: typer.Context) -> None:
    """List tools.

    Built-in tools (time, read_file, list_files, fetch_url, run_command) are listed once they are used or edited.

    Examples:
      llmctl tool list
    """
    from llmctl.engine.tools import toolset

    app: App = ctx.obj
    database = app.hub()
    rows = [tool_record(app, row) for row in tools.list_(database)]
    columns = listing_args.add_custom_columns(database, tools.TABLE, COLUMNS)
    emit_list(app.console, rows, columns, Extent("no tools yet"))
    if app.console.io.stdout_tty and (names := toolset.list_unused_builtins(database)):
        app.console.note(f"built in, ready to use: {', '.join(names)}")
