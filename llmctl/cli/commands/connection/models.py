"""``llmctl connection models``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import OptionalConnectionArgument, resolve_target
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list

_COLUMNS = [
    OutputColumn("id"),
    OutputColumn("name"),
    OutputColumn("context_tokens", "number"),
    OutputColumn("max_output_tokens", "number"),
    OutputColumn("owned_by", is_default=False),
    OutputColumn("created", is_default=False),
    OutputColumn("description", is_default=False),
]


@list_output
def models(ctx: typer.Context, ref: OptionalConnectionArgument = None) -> None:
    """List the models a connection offers.

    The list comes from the host itself, not from the built-in catalog.

    Examples:
      llmctl connection models ollama
    """
    from llmctl.engine import connection_test

    app: App = ctx.obj
    database = app.hub("write")
    emit_list(
        app.console,
        connection_test.list_models(database, resolve_target(app, ref), app.runtime_env()).models,
        _COLUMNS,
        Extent("the host offers no models"),
    )
