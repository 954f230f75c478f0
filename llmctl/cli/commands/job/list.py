"""``llmctl job list``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.job.common import COLUMNS
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.store.records import jobs

_COLUMNS_BY_NAME = [
    OutputColumn("name"),
    OutputColumn("last_status", "status"),
    OutputColumn("last_at", "time", header="last run"),
    OutputColumn("last_success_at", "time", header="last success"),
    OutputColumn("runs", "number"),
    OutputColumn("failed", "number"),
    OutputColumn("last_exit_code", "number", is_default=False),
    OutputColumn("last_error"),
]


@list_output
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, running, completed, failed or cancelled.")
    ] = None,
    type: Annotated[str | None, typer.Option(metavar="TYPE", help="Only jobs of this type, such as turn.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this name.")] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="One row per name: last run, last success, failures.")
    ] = False,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List jobs, newest first.

    Examples:
      llmctl job list --status running
      llmctl job list --by-name
    """
    app: App = ctx.obj
    database = app.hub()
    if by_name:
        emit_list(app, jobs.summarize_by_name(database, name), _COLUMNS_BY_NAME)
        return
    wanted = listing_args.require_choice(status, jobs.STATUSES, "status")
    rows = jobs.list_(database, wanted, type, name, listing_args.parse_limit(limit))
    emit_list(app, rows, listing_args.add_custom_columns(database, "jobs", COLUMNS))
