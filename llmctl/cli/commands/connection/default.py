"""``llmctl connection default``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import connection_record, note_untrusted
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.core.errors import NotFoundError
from llmctl.store.records import connections, settings


@record_output
def default(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="The new default connection.")] = None,
) -> None:
    """Show or set the default connection.

    Examples:
      llmctl connection default
      llmctl connection default ollama
    """
    from llmctl.engine.connections import trust

    app: App = ctx.obj
    database = app.hub("read" if ref is None else "write")
    if ref is not None:
        connection = connections.get(database, ref)
        settings.update(database, "default_connection", connection.name)
        app.console.note(f'the default connection is now "{connection.name}"')
        note_untrusted(app, connection)
    name = trust.default_name(database, app.env)
    if name is None:
        from llmctl.engine.connections.target import SETUP_HINT

        raise NotFoundError("no default connection", hint=SETUP_HINT)
    if app.console.format.is_json:
        emit_record(app.console, connection_record(app, connections.get_record(database, name)))
    elif ref is None or app.console.quiet or not app.console.io.stdout_tty:
        app.console.io.write(f"{name}\n")
