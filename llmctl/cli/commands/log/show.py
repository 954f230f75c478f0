"""``llmctl log show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.log.common import COLUMNS, LogArgument, write_log_text
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.store.records import text_logs


@record_output
def show(ctx: typer.Context, ref: LogArgument) -> None:
    """Print a log.

    Examples:
      llmctl log show 4a15aa97
      llmctl log show 4a15aa97 --json
    """
    app: App = ctx.obj
    database = app.hub()
    log_id = text_logs.get(database, ref)["id"]
    pieces = (piece["text"] for piece in text_logs.list_pieces(database, log_id))
    if app.format.is_json or app.format.columns:
        document = text_logs.get_record(database, log_id) | {"text": "".join(pieces)}
        emit_record(app, document, [*COLUMNS[:-1], OutputColumn("created_at", "time"), OutputColumn("text")])
        return
    for piece in pieces:
        write_log_text(app, piece)
