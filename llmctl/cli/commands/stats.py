"""``llmctl stats``: what was asked, answered, used and paid."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import figures
from llmctl.cli.console.output import listing


@listing
def stats(
    ctx: typer.Context,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="Of this chat.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="REF", help="Of this agent.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Over this connection.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="From this time on: 2026-10-05, 7d, 2h.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Up to this time, without it.")] = None,
    period: Annotated[
        str | None, typer.Option("--in", metavar="PERIOD", help="today, yesterday, last-month, 2026, 2026-10 ...")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[,KEY]",
            help="hour, day, month, provider, model, connection, chat, agent, tool, tag, status, script, folder, host, "
            "or a custom field.",
        ),
    ] = None,
    tz: Annotated[str | None, typer.Option(metavar="ZONE", help="Days and hours of this zone, or local.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw bars; by day, unless --group-by.")] = False,
) -> None:
    """Show tokens, cost, latency and errors, of a chat or of everything.

    Percentiles of one chat are exact, of more within 5 %. Days are those of UTC, unless --tz. A cost is empty where
    no price is known. What was deleted stays counted.

    Examples:
      llmctl stats --json
      llmctl stats --in last-month --group-by model
      llmctl stats --since 7d --plot
      llmctl stats --chat last
    """
    wishes = figures.Wishes(chat, agent, connection, since, until, period, group_by, tz, plot)
    figures.show(ctx.obj, wishes)
