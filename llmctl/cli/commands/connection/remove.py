"""``llmctl connection remove``."""

from __future__ import annotations

import os

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import ConnectionArgument, connection_record, key_folder
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.store.records import connections, settings


@record_output
def remove(ctx: typer.Context, ref: ConnectionArgument) -> None:
    """Remove a connection.

    Chats and requests are kept. A key file that llmctl made for this connection alone is deleted.

    Examples:
      llmctl connection remove work
    """
    app: App = ctx.obj
    database = app.hub("write")
    connection = connections.get(database, ref)
    document = connection_record(app, connections.get_record(database, connection.id))
    connections.delete(database, connection.id)
    if settings.get(database, "default_connection") in (connection.name, connection.id):
        settings.update(database, "default_connection", None)
        app.console.note("it was the default connection")
    _delete_key_file(app, document["key"] or "")
    emit_change(app.console, document, f'removed connection "{connection.name}"')


def _delete_key_file(app: App, reference: str) -> None:
    """Delete the key file of a removed connection, if llmctl made it and no other connection uses it."""
    others = [other["data"].get("key") for other in connections.list_(app.hub())]
    path = reference.removeprefix("file:")
    if reference.startswith("file:") and os.path.dirname(path) == key_folder(app) and reference not in others:
        try:
            os.unlink(path)
            app.console.note(f'deleted its key file "{path}"')
        except OSError:
            return
