"""``llmctl connection show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import COLUMNS, ConnectionArgument, connection_record, find_key
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.store.records import connections


@record_output
def show(ctx: typer.Context, ref: ConnectionArgument) -> None:
    """Show a connection.

    Prints where its key comes from and whether it can be read; never the key itself.

    Examples:
      llmctl connection show openai
    """
    app: App = ctx.obj
    database = app.hub()
    connection = connections.get(database, ref)
    record = connection_record(app, connections.get_record(database, connection.id))
    document = record | find_key(app, connection) | connections.count_uses(database, connection)
    kinds = {column.name: column.kind for column in COLUMNS} | {"key_found": "bool"}
    emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
