"""``llmctl log list``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.log.common import COLUMNS
from llmctl.cli.console.output import emit_list, list_output
from llmctl.store.records import text_logs


@list_output
def list_(ctx: typer.Context, limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT) -> None:
    """List logs, newest first.

    Examples:
      llmctl log list --limit 5
    """
    app: App = ctx.obj
    emit_list(app, text_logs.list_(app.hub(), listing_args.parse_limit(limit)), COLUMNS)
