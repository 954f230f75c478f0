"""``llmctl connection remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import ConnectionArgument, connection_record, delete_unused_key_file
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.cli.console.prompts import confirm
from llmctl.store.records import connections, models, settings


@record_output
def remove(
    ctx: typer.Context,
    ref: ConnectionArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a connection.

    Chats and requests are kept. A key file that llmctl made for this connection alone is deleted. It asks on a
    terminal.

    Examples:
      llmctl connection remove work
    """
    from llmctl.engine.connections import trust

    app: App = ctx.obj
    database = app.hub("write")
    connection = connections.get(database, ref)
    document = connection_record(app, connections.get_record(database, connection.id))
    confirm(app.console, f'remove connection "{connection.name}"', yes=yes, is_required=False)
    connections.delete(database, connection.id, then=models.alias_writes(database, connection))
    trust.remove(database, connection.id, app.env)
    if settings.get(database, "default_connection") in (connection.name, connection.id):
        settings.update(database, "default_connection", None)
        app.console.note("it was the default connection")
    delete_unused_key_file(app, connection.id, document["key"])
    emit_change(app.console, document, f'removed connection "{connection.name}"')
