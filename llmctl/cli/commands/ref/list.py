"""``llmctl ref list``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.ref.common import RecordArgument
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.store.records import record_links

_COLUMNS = [OutputColumn("direction"), OutputColumn("name"), OutputColumn("kind"), OutputColumn("id", "id")]


@list_output
def list_(ctx: typer.Context, ref: RecordArgument) -> None:
    """List references from and to a record.

    Examples:
      llmctl ref list fix-42
    """
    app: App = ctx.obj
    database = app.hub()
    table, row = record_links.get(database, ref)
    rows = [*record_links.list_outgoing(database, table, row), *record_links.list_incoming(database, row["id"])]
    emit_list(app, rows, _COLUMNS)
