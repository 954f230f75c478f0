"""``llmctl metric export``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.metric.common import MetricArgument
from llmctl.core import clock
from llmctl.core.stored_json import dumps
from llmctl.formats import openmetrics
from llmctl.formats.openmetrics import Family, Sample, label_names, metric_name
from llmctl.store.database import Database, Row
from llmctl.store.records import metrics
from llmctl.store.stats import group_by
from llmctl.store.stats import query as stats_query
from llmctl.store.stats.scope import Scope

_LABELS = ("provider", "model", "connection", "agent", "tag", "status")
_TOKEN_KINDS = ("input", "output", "cached", "cache_write", "thinking")
#: llmctl's own families begin like this; a user's metric that does so is exported as hub_….
_OWN_PREFIX = "llmctl_"


def export(
    ctx: typer.Context,
    name: MetricArgument = None,
    ledger: Annotated[bool, typer.Option("--ledger/--no-ledger", help="Include usage totals.")] = True,
) -> None:
    """Print metrics in OpenMetrics format, for Prometheus.

    Usage totals: requests, tokens, cost and time by provider, model, connection, agent, tag and status, since the hub
    was created. Your own metrics: the newest value for each set of dimensions. With NAME, only that metric.

    Examples:
      llmctl metric export > /var/lib/node_exporter/llmctl.prom
      llmctl metric export build_seconds
    """
    app: App = ctx.obj
    database = app.hub()
    families = [*(_usage_families(database) if ledger and name is None else ())]
    families += _user_families(database, metrics.MetricFilter(name))
    for line in openmetrics.render_families(families):
        app.io.write(line)


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


def _user_families(database: Database, wanted: metrics.MetricFilter) -> Iterator[Family]:
    """Yield the user's metrics: the newest value of each name and dimensions, as a gauge."""
    latest = sorted(metrics.list_latest(database, wanted), key=lambda row: (_family_name(row["name"]), row["name"]))
    for name, rows in groupby(latest, key=lambda row: _family_name(row["name"])):
        yield Family(name, "gauge", "User metric.", list(_gauge_samples(name, rows)))


def _gauge_samples(family: str, rows: Iterable[Row]) -> Iterator[Sample]:
    seen = set()
    for row in rows:
        dimensions = dict(row["dimensions"]) if isinstance(row["dimensions"], dict) else {"value": row["dimensions"]}
        names = label_names(sorted(dimensions))
        labels = {names[key]: _label_value(dimensions[key]) for key in names}
        if row["name"] != family:
            labels[label_names([*names.values(), "metric"])["metric"]] = row["name"]
        identity = tuple(sorted(labels.items()))
        if identity not in seen:  # the same dimensions in another order, or 1 and "1"
            seen.add(identity)
            yield Sample(row["value"], labels, at=clock.parse(row["created_at"]).timestamp())


def _family_name(metric: str) -> str:
    name = metric_name(metric)
    return f"hub_{name}" if name.startswith(_OWN_PREFIX) else name


def _counter_samples(rows: Iterable[Row], name: str) -> Iterator[Sample]:
    return (Sample(row[name], _labels(row), "_total") for row in rows if row[name] is not None)


def _labels(row: Row) -> dict[str, str]:
    return {key: row[key] or "" for key in _LABELS}


def _label_value(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
