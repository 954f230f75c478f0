"""``llmctl model reprice``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_record, record_output


@record_output
def reprice(
    ctx: typer.Context,
    since: common_options.SinceOption = None,
    all: Annotated[bool, typer.Option("--all", help="Include requests that have a cost already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
) -> None:
    """Recalculate the cost of unpriced requests.

    At the prices of their time. A cost that the provider reported is never changed.

    Examples:
      llmctl model reprice --dry-run
      llmctl model reprice --all --since 2026-10-01
    """
    from llmctl.engine.billing import reprice as billing_reprice

    app: App = ctx.obj
    database = app.hub("write")
    result = billing_reprice.reprice(database, since=listing_args.parse_time(since), everything=all, dry_run=dry_run)
    emit_record(app, result.to_record(dry_run))
