"""``llmctl metric``: numbers over time, the user's own and those of the ledger."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, listing, record
from llmctl.cli.values import pairs
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.store.records import metrics

_COLUMNS = [
    Column("id", "id"),
    Column("name"),
    Column("value", "number"),
    Column("dimensions", "json"),
    Column("created_at", "time", header="when"),
    Column("references", "json", shown=False),
    Column("updated_at", "time", shown=False),
]

Until = Annotated[str | None, typer.Option(metavar="T", help="Up to this time, without it.")]
Period = Annotated[str | None, typer.Option("--in", metavar="PERIOD", help="today, last-month, 2026, 2026-10 ...")]
Where = Annotated[list[str] | None, typer.Option(metavar="K=V", help="With this dimension.")]
OfName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this name.")]


@record
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What was measured.")],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="A number.")],
    dimension: Annotated[list[str] | None, typer.Option("--dimension", "-d", metavar="K=V|K:=JSON")] = None,
    at: Annotated[str | None, typer.Option(metavar="T", help="When it was measured; now by default.")] = None,
    reference: common_options.Reference = None,
) -> None:
    """Keep a number that was measured.

    Examples:
      llmctl metric add build_seconds 12.5 -d branch=main
      llmctl metric add score 0.93 -d suite=regression --at 2026-10-05
    """
    app: App = ctx.obj
    if not name.strip():
        raise UsageError("a metric's name cannot be empty")
    if not math.isfinite(value):
        raise UsageError(f'"{value}" is no number')
    references = {key: str(found) for key, found in pairs(reference or (), "--reference").items()}
    dimensions = pairs(dimension or (), "--dimension")
    moment = looking.moment(at)
    row = metrics.add(app.hub("create"), name, value, dimensions=dimensions, references=references, at=moment)
    emit_made(app, row, f'kept {value:g} as "{name}"')


@listing
def list_(
    ctx: typer.Context,
    name: OfName = None,
    since: common_options.Since = None,
    until: Until = None,
    period: Period = None,
    where: Where = None,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List metrics, the newest first.

    Examples:
      llmctl metric list build_seconds --since 7d --where branch=main
    """
    app: App = ctx.obj
    rows = metrics.listed(app.hub(), _filter(name, since, until, period, where), looking.limit(limit))
    emit_list(app, rows, _COLUMNS)


@listing
def query(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of this name.")],
    bucket: Annotated[
        str | None, typer.Option(metavar="UNIT", help="minute, hour, day, month, year, or such as 15m, 6h.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="KEY[,KEY]", help="For each value of these dimensions.")] = None,
    aggregate: Annotated[
        str, typer.Option(metavar="A[,A]", help=f"{', '.join(metrics.AGGREGATES)}.")
    ] = "count,sum,avg,min,max",
    since: common_options.Since = None,
    until: Until = None,
    period: Period = None,
    where: Where = None,
) -> None:
    """Aggregate a metric over time and dimensions.

    Buckets begin at full units of UTC. Percentiles are exact (nearest rank).

    Examples:
      llmctl metric query build_seconds --bucket day --aggregate avg,p95
      llmctl metric query score --by suite,model --in 2026-10 --json
    """
    app: App = ctx.obj
    aggregates = [looking.one_of(word, tuple(metrics.AGGREGATES), "aggregate") or "" for word in _words(aggregate)]
    dimensions = _words(by) if by is not None else []
    how = metrics.Query(_bucket(bucket), dimensions, aggregates)
    rows = metrics.query(app.hub(), _filter(name, since, until, period, where), how)
    columns = [Column("bucket", "time")] * (bucket is not None)
    emit_list(app, rows, [*columns, *map(Column, dimensions), *(Column(word, "number") for word in aggregates)])


def export(
    ctx: typer.Context,
    name: OfName = None,
    ledger: Annotated[bool, typer.Option("--ledger/--no-ledger", help="The sums of the ledger, too.")] = True,
) -> None:
    """Print metrics as OpenMetrics text, for Prometheus and its kin.

    Of the ledger: requests, tokens, cost and time by provider, model, connection, agent, tag and status, since the
    hub began. Of your own metrics the newest value for each set of dimensions. With NAME only that metric.

    Examples:
      llmctl metric export > /var/lib/node_exporter/llmctl.prom
      llmctl metric export build_seconds
    """
    from llmctl.cli import exposing
    from llmctl.formats import openmetrics

    app: App = ctx.obj
    database = app.hub()
    families = [*(exposing.ledger(database) if ledger and name is None else ())]
    families += exposing.users(database, metrics.Filter(name))
    for line in openmetrics.rendered(families):
        app.io.write(line)


def _filter(
    name: str | None, since: str | None, until: str | None, period: str | None, where: list[str] | None
) -> metrics.Filter:
    chosen = [(key, str(value)) for key, value in pairs(where or (), "--where").items()]
    if period is None:
        return metrics.Filter(name, looking.moment(since), looking.moment(until), chosen)
    if since is not None or until is not None:
        raise UsageError('"--in" excludes "--since" and "--until"')
    return metrics.Filter(name, *time_ranges.span(period), chosen)


def _bucket(text: str | None) -> str | int | None:
    if text is None or text in metrics.BUCKETS:
        return text
    seconds = time_ranges.seconds(text)
    if seconds is None or seconds < 1:
        raise UsageError(f'no bucket "{text}"', hint=f"there are {', '.join(metrics.BUCKETS)}, and such as 15m or 6h")
    return int(seconds)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise UsageError(f'"{text}" has an empty part')
    if len(set(words)) < len(words):
        raise UsageError(f'a part comes twice in "{text}"')
    return words
