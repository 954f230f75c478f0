"""``llmctl tool invocations``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list, emit_record
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations as invocation_rows
from llmctl.store.records import jobs, tools

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("status", "status"),
    OutputColumn("arguments", "json"),
    OutputColumn("error"),
    OutputColumn("duration", "duration"),
    OutputColumn("created_at", "time", header="requested"),
    *(
        OutputColumn(name, is_default=False)
        for name in ("chat", "agent", "chat_id", "result", "message_id", "tool_call_id")
    ),
    *(OutputColumn(name, "json", is_default=False) for name in ("decision", "parameters", "references")),
    *(OutputColumn(name, "number", is_default=False) for name in ("exit_status", "step")),
    *(OutputColumn(name, "id", is_default=False) for name in ("tool_id", "text_log_id", "job_id")),
    *(OutputColumn(name, "time", is_default=False) for name in ("started_at", "finished_at", "updated_at")),
]


@list_output
def invocations(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this one (or last) and its log.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only invocations of this status.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="REF", help="Only invocations of this tool.")] = None,
    chat: common_options.ChatFilterOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List tool invocations, newest first, or show one.

    Examples:
      llmctl tool invocations --status failed
      llmctl tool invocations 3f2a9c1e
    """
    app: App = ctx.obj
    database = app.hub()
    if ref is not None:
        document = _get_with_log(database, listing_args.resolve_last(app, "invocation", ref))
        kinds = {column.name: column.kind for column in _COLUMNS}
        emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
        return
    listing_args.require_choice(status, invocation_rows.STATUSES, "status")
    stored = tools.find(database, tool) if tool else None
    wanted = (status, stored.id if stored else tool, listing_args.find_chat_id(app, chat))
    extent = listing_args.extent(limit, "invocations", lambda: invocation_rows.count(database, *wanted), *wanted)
    columns = listing_args.add_custom_columns(database, "tool_invocations", _COLUMNS)
    emit_list(app.console, invocation_rows.list_(database, *wanted, extent.limit), columns, extent)


def _get_with_log(database: Database, ref: str) -> Row:
    row = invocation_rows.get(database, ref)
    pieces = jobs.list_log_pieces(database, row.text_log_id) if row.text_log_id else []
    return invocation_rows.get_record(database, row.id) | {"log": "".join(piece["text"] for piece in pieces)}
