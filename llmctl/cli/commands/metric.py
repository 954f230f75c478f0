"""Commands on metrics: numbers over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.time_range import PeriodOption, UntilOption, parse_time_range
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import Extent, emit_change, emit_list
from llmctl.core import clock, time_ranges
from llmctl.core.errors import UsageError
from llmctl.core.options import parse_pairs
from llmctl.core.stored_values import dumps
from llmctl.formats import openmetrics
from llmctl.formats.openmetrics import Family, Sample, label_names, metric_name
from llmctl.store.database import Database, Row
from llmctl.store.records import metrics
from llmctl.store.records.metrics import LatestMetric
from llmctl.store.stats import group_by
from llmctl.store.stats import query as stats_query
from llmctl.store.stats.group_by import Scope

WhereOption = Annotated[list[str] | None, typer.Option(metavar="K=V", help="Only values with this dimension.")]

MetricArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this metric.")]


def build_filter(
    name: str | None, since: str | None, until: str | None, period: str | None, where: Sequence[str] | None
) -> metrics.MetricFilter:
    """Return the filter of the flags."""
    dimensions = [(key, str(value)) for key, value in parse_pairs(where or (), "--where").items()]
    return metrics.MetricFilter(name, *parse_time_range(since, until, period), dimensions)


@record_output
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the metric.")],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="A number.")],
    dimension: Annotated[list[str] | None, typer.Option("--dimension", "-d", metavar="K=V|K:=JSON")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it was measured. [now]")] = None,
    reference: common_options.ReferenceOption = None,
) -> None:
    """Record a measured value.

    Examples:
      llmctl metric add build_seconds 12.5 -d branch=main
      llmctl metric add score 0.93 -d suite=regression --at 2026-10-05
    """
    app: App = ctx.obj
    if not name.strip():
        raise UsageError("the name of a metric must not be empty")
    if not math.isfinite(value):
        raise UsageError(f'VALUE must be a finite number, got "{value}"')
    references = {key: str(target) for key, target in parse_pairs(reference or (), "--reference").items()}
    dimensions = parse_pairs(dimension or (), "--dimension")
    time = listing_args.parse_time(at)
    row = metrics.add(app.hub("create"), name, value, dimensions=dimensions, references=references, at=time)
    emit_change(app.console, row, f'recorded {value:g} as "{name}"')


_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("value", "number"),
    OutputColumn("dimensions", "json"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@list_output
def list_(
    ctx: typer.Context,
    name: MetricArgument = None,
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    where: WhereOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List metric values, newest first.

    Examples:
      llmctl metric list build_seconds --since 7d --where branch=main
    """
    app: App = ctx.obj
    database, wanted = app.hub(), build_filter(name, since, until, period, where)
    given = (name, since, until, period, where)
    extent = listing_args.extent(limit, "metrics", lambda: metrics.count(database, wanted), *given)
    emit_list(app.console, metrics.list_(database, wanted, extent.limit), _COLUMNS, extent)


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
    aggregation = metrics.MetricQuery(_parse_bucket(bucket), dimensions, aggregates)
    rows = metrics.aggregate(app.hub(), build_filter(name, since, until, period, where), aggregation)
    keys = [*([OutputColumn("bucket", "time")] if bucket is not None else []), *map(OutputColumn, dimensions)]
    extent = Extent(f'no metrics match "{name}"')
    emit_list(app.console, rows, [*keys, *(OutputColumn(word, "number") for word in aggregates)], extent)


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
        raise UsageError(f'"{text}" contains an empty item')
    if len(set(words)) < len(words):
        raise UsageError(f'"{text}" contains a duplicate item')
    return words


_LABELS = ("provider", "model", "connection", "agent", "tag", "status")

_TOKEN_KINDS = ("input", "output", "cached", "cache_write", "thinking")

#: llmctl's own families begin like this; a user's metric that does so is exported as hub_….
_OWN_PREFIX = "llmctl_"


def export(
    ctx: typer.Context,
    name: MetricArgument = None,
    ledger: Annotated[bool, typer.Option("--ledger/--no-ledger", help="Include usage totals.")] = True,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Add the times of your own metrics, which node_exporter refuses.")
    ] = False,
) -> None:
    """Print metrics in OpenMetrics format, for Prometheus.

    Usage totals: requests, tokens, cost and time by provider, model, connection, agent, tag and status, since the hub
    was created. Your own metrics: the newest value for each set of dimensions. With NAME, only that metric. Without
    times the output is valid in Prometheus' older text format too, which node_exporter reads.

    Examples:
      llmctl metric export > /var/lib/node_exporter/llmctl.prom
      llmctl metric export build_seconds
    """
    app: App = ctx.obj
    database = app.hub()
    families = [*(_usage_families(database) if ledger and name is None else ())]
    families += _user_families(database, metrics.MetricFilter(name), timestamps)
    for line in openmetrics.render_families(families):
        app.console.io.write(line)


def _usage_families(database: Database) -> Iterator[Family]:
    """Yield the usage totals since the hub was created, from the monthly roll-up."""
    rows, _ = stats_query.group_totals(database, Scope(), group_by.build_grouping(database, _LABELS))
    yield Family(f"{_OWN_PREFIX}requests", "counter", "Finished requests.", _counter_samples(rows, "requests"))
    yield Family(
        f"{_OWN_PREFIX}retries", "counter", "HTTP attempts after the first.", _counter_samples(rows, "retries")
    )
    tokens = (
        Sample(row[f"{kind}_tokens"], _labels(row) | {"kind": kind}, "_total") for row in rows for kind in _TOKEN_KINDS
    )
    yield Family(f"{_OWN_PREFIX}tokens", "counter", "Tokens; input includes cached, output includes thinking.", tokens)
    cost = _counter_samples(rows, "cost")
    yield Family(f"{_OWN_PREFIX}cost_usd", "counter", "US dollars, where the price is known.", cost, "usd")
    unpriced = _counter_samples(rows, "unpriced_requests")
    yield Family(f"{_OWN_PREFIX}unpriced_requests", "counter", "Requests without a known price.", unpriced)
    seconds = (Sample(row["duration_ms"] / 1000, _labels(row), "_total") for row in rows)
    name = f"{_OWN_PREFIX}request_duration_seconds"
    yield Family(name, "counter", "Total duration of requests.", seconds, "seconds")


def _user_families(database: Database, wanted: metrics.MetricFilter, timestamps: bool) -> Iterator[Family]:
    """Yield the user's metrics: the newest value of each name and dimensions, as a gauge."""
    latest = sorted(metrics.list_latest(database, wanted), key=lambda metric: (_family_name(metric.name), metric.name))
    for name, group in groupby(latest, key=lambda metric: _family_name(metric.name)):
        yield Family(name, "gauge", "User metric.", list(_gauge_samples(name, group, timestamps)))


def _gauge_samples(family: str, latest: Iterable[LatestMetric], timestamps: bool) -> Iterator[Sample]:
    seen = set()
    for metric in latest:
        dimensions = metric.dimensions if isinstance(metric.dimensions, dict) else {"value": metric.dimensions}
        names = label_names(sorted(dimensions))
        labels = {names[key]: _label_value(dimensions[key]) for key in names}
        if metric.name != family:
            labels[label_names([*names.values(), "metric"])["metric"]] = metric.name
        identity = tuple(sorted(labels.items()))
        if identity not in seen:  # the same dimensions in another order, or 1 and "1"
            seen.add(identity)
            at = clock.parse(metric.created_at).timestamp() if timestamps else None
            yield Sample(metric.value, labels, at=at)


def _family_name(metric: str) -> str:
    name = metric_name(metric)
    return f"hub_{name}" if name.startswith(_OWN_PREFIX) else name


def _counter_samples(rows: Iterable[Row], name: str) -> Iterator[Sample]:
    return (Sample(row[name], _labels(row), "_total") for row in rows if row[name] is not None)


def _labels(row: Row) -> dict[str, str]:
    return {key: row[key] or "" for key in _LABELS}


def _label_value(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
