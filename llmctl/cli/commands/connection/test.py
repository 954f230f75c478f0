"""``llmctl connection test``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import OptionalConnectionArgument, resolve_target
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record


@record_output
def test(ctx: typer.Context, ref: OptionalConnectionArgument = None) -> None:  # noqa: PT028 - a command, no test
    """Test whether a connection works.

    Sends one request for the list of models, which costs nothing. Exit codes distinguish a bad key (4), an unknown
    model (3), no credit (7) and no network (6).

    Examples:
      llmctl connection test openai
    """
    from llmctl.engine import connection_test

    app: App = ctx.obj
    database = app.hub("write")
    target = resolve_target(app, ref)
    models = connection_test.check_connection(database, target, app.runtime_env())
    name = target.connection or target.provider.name
    row = {
        "connection": name,
        "provider": target.provider.name,
        "model": target.model or None,
        "base_url": target.base_url,
        "key": target.key,
        "status_code": models.status_code,
        "duration_ms": models.duration_ms,
        "models": len(models.models),
    }
    emit_record(app.console, row)
    next_step = "" if target.model else f"; to choose a model: llmctl connection edit {name} --model ID"
    app.console.note(f'connection "{name}" works{next_step}')
