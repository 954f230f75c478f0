"""``llmctl request list``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.request.common import COLUMNS
from llmctl.cli.console.output import emit_list, list_output
from llmctl.core.errors import UsageError
from llmctl.store.records import requests


@list_output
def list_(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, completed, failed, incomplete or interrupted.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Short for --status failed.")] = False,
    model: common_options.ModelFilterOption = None,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="Only requests to this provider.")] = None,
    since: common_options.SinceOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List requests, newest first.

    Examples:
      llmctl request list --failed --since 1d
      llmctl request list --chat last --json
    """
    app: App = ctx.obj
    if failed and status not in (None, "failed"):
        raise UsageError(f"--failed and --status {status} cannot be combined")
    database = app.hub()
    wanted = requests.RequestFilter(
        chat_id=listing_args.find_chat_id(database, chat),
        status="failed" if failed else listing_args.require_choice(status, requests.STATUSES, "status"),
        model=model,
        provider=provider,
        since=listing_args.parse_time(since),
    )
    rows = requests.list_(database, wanted, listing_args.parse_limit(limit))
    emit_list(app, rows, listing_args.add_custom_columns(database, "requests", COLUMNS))
