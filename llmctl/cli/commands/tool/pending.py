"""``llmctl tool pending``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.store.database import Row
from llmctl.store.records import chats

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("created_at", "time", header="age"),
    OutputColumn("agent"),
    OutputColumn("chat"),
    OutputColumn("name", header="tool"),
    OutputColumn("arguments", "json"),
    OutputColumn("chat_id", "id", is_default=False),
]


@list_output
def pending(ctx: typer.Context) -> None:
    """List the calls that await approval, oldest first.

    Examples:
      llmctl tool pending
    """
    from llmctl.engine.tools.approvals import list_pending

    app: App = ctx.obj
    rows = list_pending(app.hub())
    if app.console.shows_table:
        rows = [row | {"chat": _title(app, row)} for row in rows]
    elif not app.console.format.is_json:
        rows = [row | {"chat": row["chat"] or str(row["chat_id"] or "")[:8]} for row in rows]
    emit_list(app.console, rows, _COLUMNS)
    if not rows:
        app.console.note("no calls are pending")


def _title(app: App, row: Row) -> str | None:
    chat = chats.find_by_id(app.hub(), row["chat_id"])
    return chats.get_title(app.hub(), chat) if chat else None
