"""Commands on the cache: the answers in the ledger that equal requests may use again."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.cli.listing_args import sanitize
from llmctl.store.records import requests

_STATUS_COLUMNS = [
    OutputColumn("answers", "number"),
    OutputColumn("oldest_at", "time"),
    OutputColumn("newest_at", "time"),
    OutputColumn("hits", "number"),
    OutputColumn("saved_cost", "cost"),
]


@record_output
def status(ctx: typer.Context) -> None:
    """Show how many answers can be used again, and what that has saved.

    Examples:
      llmctl cache status
      llmctl cache status --json
    """
    app: App = ctx.obj
    emit_record(app.console, requests.get_cache_totals(app.hub()), _STATUS_COLUMNS)


@record_output
def explain(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="ID", help="Request: id, id prefix, or last.")],
) -> None:
    """Explain why a request was or was not answered from the cache.

    Shows the reason, and how what the answer depends on differs from the nearest earlier request: new prompt, options
    differ, expired, was incomplete, refreshed.

    Examples:
      llmctl cache explain last
      llmctl cache explain 3f2a9c1e --json
    """
    from llmctl.engine.inspect.cache_lookup import explain_lookup

    app: App = ctx.obj
    database = app.hub()
    found = explain_lookup(database, requests.get(database, listing_args.resolve_last(app, "request", ref)))
    if app.console.format.is_json or app.console.format.columns:
        emit_record(app.console, found.to_record())
        return
    source = f" (request {found.cached_from})" if found.cached_from else ""
    app.console.io.write(sanitize(app.console, f"{found.result}: {found.reason}{source}\n{found.diff}"))


def clear(
    ctx: typer.Context,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only answers from before this time: 30d, 2026-10-05.")
    ] = None,
) -> None:
    """Forget the answers, so that equal requests are sent again.

    The requests and their text stay.

    Examples:
      llmctl cache clear
      llmctl cache clear --older-than 30d
    """
    app: App = ctx.obj
    count = requests.forget_cached(app.hub("write"), listing_args.parse_time(older_than))
    app.console.note(f"forgot {count} answer{'' if count == 1 else 's'}")
