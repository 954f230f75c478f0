"""``llmctl agent sessions``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.agent.session import COLUMNS
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.store.records import agents


@list_output
def sessions(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="Only sessions of this agent.")] = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List agent sessions, newest first.

    Examples:
      llmctl agent sessions support
    """
    app: App = ctx.obj
    database = app.hub()
    rows = agents.list_sessions(database, agents.get(database, ref).id if ref else None)
    extent = listing_args.extent(limit, "sessions", lambda: len(rows), ref)
    emit_list(app.console, rows[: extent.limit], COLUMNS, extent)
