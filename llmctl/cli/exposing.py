"""What the hub has to tell other systems, as families of OpenMetrics: the ledger's sums and the user's metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_json import dumps
from llmctl.formats.openmetrics import Family, Sample, label_names, metric_name
from llmctl.store.database import Database, Row
from llmctl.store.records import metrics
from llmctl.store.stats import group_by, query
from llmctl.store.stats.scope import Scope

_KEYS = ("provider", "model", "connection", "agent", "tag", "status")
_KINDS = ("input", "output", "cached", "cache_write", "thinking")
#: Families of llmctl's own begin like this; a user's that does so gets another beginning.
_OWN = "llmctl_"


def ledger(database: Database) -> Iterator[Family]:
    """Yield what was asked, used and paid since the hub began, from the roll-up by month."""
    rows, _ = query.grouped(database, Scope(), group_by.grouping(database, _KEYS))
    yield Family(f"{_OWN}requests", "counter", "Requests that are finished.", _sums(rows, "requests"))
    yield Family(f"{_OWN}retries", "counter", "HTTP attempts after the first.", _sums(rows, "retries"))
    tokens = (Sample(row[f"{kind}_tokens"], _labels(row) | {"kind": kind}, "_total") for row in rows for kind in _KINDS)
    yield Family(f"{_OWN}tokens", "counter", "Tokens; input counts cached ones too, output thinking.", tokens)
    yield Family(f"{_OWN}cost_usd", "counter", "US dollars, where the price is known.", _sums(rows, "cost"), "usd")
    unpriced = _sums(rows, "unpriced_requests")
    yield Family(f"{_OWN}unpriced_requests", "counter", "Requests whose price is not known.", unpriced)
    seconds = (Sample(row["duration_ms"] / 1000, _labels(row), "_total") for row in rows)
    name = f"{_OWN}request_duration_seconds"
    yield Family(name, "counter", "Time that requests took, all together.", seconds, "seconds")


def users(database: Database, wanted: metrics.Filter) -> Iterator[Family]:
    """Yield the user's metrics: of each name and dimensions the newest value, as a gauge."""
    found = sorted(metrics.latest(database, wanted), key=lambda row: (_family(row["name"]), row["name"]))
    for name, rows in groupby(found, key=lambda row: _family(row["name"])):
        yield Family(name, "gauge", "A metric of the user's.", list(_gauges(name, rows)))


def _gauges(family: str, rows: Iterable[Row]) -> Iterator[Sample]:
    seen = set()
    for row in rows:
        dimensions = dict(row["dimensions"]) if isinstance(row["dimensions"], dict) else {"value": row["dimensions"]}
        names = label_names(sorted(dimensions))
        labels = {names[key]: _text(dimensions[key]) for key in names}
        if row["name"] != family:
            labels[label_names([*names.values(), "metric"])["metric"]] = row["name"]
        identity = tuple(sorted(labels.items()))
        if identity not in seen:  # the same dimensions in another order, or 1 and "1"
            seen.add(identity)
            yield Sample(row["value"], labels, at=clock.parsed(row["created_at"]).timestamp())


def _family(name: str) -> str:
    found = metric_name(name)
    return f"hub_{found}" if found.startswith(_OWN) else found


def _sums(rows: Iterable[Row], name: str) -> Iterator[Sample]:
    return (Sample(row[name], _labels(row), "_total") for row in rows if row[name] is not None)


def _labels(row: Row) -> dict[str, str]:
    return {key: row[key] or "" for key in _KEYS}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
