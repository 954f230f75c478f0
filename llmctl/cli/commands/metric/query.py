"""``llmctl metric query``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.metric.common import WhereOption, build_filter
from llmctl.cli.commands.shared.time_range import PeriodOption, UntilOption
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.store.records import metrics


@list_output
def query(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the metric.")],
    bucket: Annotated[
        str | None, typer.Option(metavar="UNIT", help="minute, hour, day, month, year, or such as 15m, 6h.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="KEY[,KEY]", help="Group by these dimensions.")] = None,
    aggregate: Annotated[
        str, typer.Option(metavar="A[,A]", help=f"{', '.join(metrics.AGGREGATES)}.")
    ] = "count,sum,avg,min,max",
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    where: WhereOption = None,
) -> None:
    """Aggregate a metric over time and dimensions.

    Buckets start at full units of UTC. Percentiles are exact (nearest rank).

    Examples:
      llmctl metric query build_seconds --bucket day --aggregate avg,p95
      llmctl metric query score --by suite,model --in 2026-10 --json
    """
    app: App = ctx.obj
    aggregates = [
        listing_args.require_choice(word, tuple(metrics.AGGREGATES), "aggregate") or "" for word in _split(aggregate)
    ]
    dimensions = _split(by) if by is not None else []
    how = metrics.MetricQuery(_parse_bucket(bucket), dimensions, aggregates)
    rows = metrics.aggregate(app.hub(), build_filter(name, since, until, period, where), how)
    keys = [*([OutputColumn("bucket", "time")] if bucket is not None else []), *map(OutputColumn, dimensions)]
    emit_list(app, rows, [*keys, *(OutputColumn(word, "number") for word in aggregates)])


def _parse_bucket(text: str | None) -> str | int | None:
    """Return a unit's name, or a number of seconds."""
    if text is None or text in metrics.BUCKETS:
        return text
    seconds = time_ranges.parse_seconds(text)
    if seconds is None or seconds < 1:
        units = ", ".join(metrics.BUCKETS)
        raise UsageError(f'--bucket must be a unit of time, got "{text}"', hint=f"{units}, or such as 15m or 6h")
    return int(seconds)


def _split(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise UsageError(f'"{text}" has an empty item')
    if len(set(words)) < len(words):
        raise UsageError(f'"{text}" has the same item twice')
    return words
