"""The metrics table: timestamped numbers with dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import dumps, new_id
from llmctl.core.values import Value
from llmctl.store.database import Database, Insert, Row, Serializer

#: Name -> expression over the values of a group, ranked from 1 (``place``) to ``number``. Percentiles are nearest rank.
AGGREGATES = {
    "count": "count(*)",
    "sum": "sum(value)",
    "avg": "avg(value)",
    "min": "min(value)",
    "max": "max(value)",
    "p50": "min(CASE WHEN place >= 0.5 * number THEN value END)",
    "p95": "min(CASE WHEN place >= 0.95 * number THEN value END)",
}
#: Calendar units: length of a time's prefix that identifies one, and the suffix that makes it a full time.
BUCKETS = {
    "minute": (16, ":00.000+00:00"),
    "hour": (13, ":00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "month": (7, "-01T00:00:00.000+00:00"),
    "year": (4, "-01-01T00:00:00.000+00:00"),
}

#: A dimension's value as text; a JSON path cannot express every key.
_DIMENSION = """(
  SELECT CASE WHEN e.type IN ('true', 'false', 'null') THEN e.type ELSE CAST(e.value AS TEXT) END
  FROM json_each(m.dimensions) e WHERE e.key = {key})"""
_QUERY = """
WITH chosen AS (SELECT {keys}m.value AS value FROM {{metrics}} m WHERE {where}),
ranked AS (
  SELECT *, row_number() OVER ({partition} ORDER BY value) AS place, count(*) OVER ({partition}) AS number FROM chosen)
SELECT {names}{sums} FROM ranked {order}
"""
#: The last value per name and dimensions: SQLite takes the other columns from the row of the maximum.
_LATEST = """
SELECT name, dimensions, value, max(created_at) AS created_at FROM {metrics} m WHERE %s
GROUP BY name, dimensions ORDER BY name, dimensions
"""


class MetricFilter(Value):
    """Conditions on metrics; all that are set must hold. ``where`` has pairs of a dimension and its value."""

    name: str | None = None
    since: str | None = None
    until: str | None = None
    where: Sequence[tuple[str, str]] = ()


class LatestMetric(Value):
    """The newest value of a metric for a set of dimensions; ``dimensions`` are any JSON that the user stored."""

    name: str
    dimensions: Any
    value: float
    created_at: str


class MetricQuery(Value):
    """How to aggregate: ``bucket`` is one of :data:`BUCKETS` or a number of seconds, ``by`` are dimensions."""

    bucket: str | int | None
    by: Sequence[str]
    aggregates: Sequence[str]


def add(
    database: Database,
    name: str,
    value: float,
    *,
    dimensions: Mapping[str, Any],
    references: Mapping[str, str],
    at: str | None = None,
) -> Row:
    """Add a value; return the record."""
    now = clock.now()
    row = {
        "id": new_id(),
        "refs": dumps(dict(references)),
        "name": name,
        "dimensions": dumps(dict(dimensions)),
        "value": value,
        "created_at": at or now,
        "updated_at": now,
    }
    database.commit(Insert("metrics", row), durable=True)
    return Serializer(database, "metrics").to_record(row)


def list_(database: Database, filters: MetricFilter, limit: int | None) -> Iterator[Row]:
    """Yield metrics as records, newest first."""
    shape = Serializer(database, "metrics")
    where, values = _conditions(filters)
    sql = f"SELECT m.* FROM {{metrics}} m WHERE {where} ORDER BY m.created_at DESC, m.rowid DESC LIMIT :limit"
    return (shape.to_record(row) for row in database.rows(sql, values | {"limit": -1 if limit is None else limit}))


def count(database: Database, filters: MetricFilter) -> int:
    """Return the number of metrics that match."""
    where, values = _conditions(filters)
    return int(database.value(f"SELECT count(*) FROM {{metrics}} m WHERE {where}", values))


def aggregate(database: Database, filters: MetricFilter, query: MetricQuery) -> Iterator[Row]:
    """Yield a row per bucket and combination of dimensions: keys, then aggregates; oldest bucket first."""
    where, values = _conditions(filters)
    keys: list[str] = []
    if query.bucket is not None:
        keys.append(f"{_bucket(query.bucket)} AS bucket")
    for index, dimension in enumerate(query.by):
        keys.append(f"{_DIMENSION.format(key=f':by{index}')} AS k{index}")
        values[f"by{index}"] = dimension
    names = [key.rpartition(" ")[2] for key in keys]
    sql = _QUERY.format(
        keys="".join(f"{key}, " for key in keys),
        where=where,
        partition=f"PARTITION BY {', '.join(names)}" if names else "",
        names="".join(f"{name}, " for name in names),
        sums=", ".join(f"{AGGREGATES[name]} AS {name}" for name in query.aggregates),
        order=f"GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}" if names else "",
    )
    for row in database.rows(sql, values):
        yield {query.by[int(name[1:])] if name[1:].isdecimal() and name in names else name: row[name] for name in row}


def list_latest(database: Database, filters: MetricFilter) -> Iterator[LatestMetric]:
    """Yield the newest value per name and dimensions, sorted by name."""
    shape = Serializer(database, "metrics")
    where, values = _conditions(filters)
    return (LatestMetric(**shape.to_record(row)) for row in database.rows(_LATEST % where, values))


def _conditions(filters: MetricFilter) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {"name": filters.name, "since": filters.since, "until": filters.until}
    conditions = ["m.name = :name"] * (filters.name is not None)
    conditions += ["m.created_at >= :since"] * (filters.since is not None)
    conditions += ["m.created_at < :until"] * (filters.until is not None)
    for index, (dimension, value) in enumerate(filters.where):
        conditions.append(f"{_DIMENSION.format(key=f':key{index}')} = :value{index}")
        values |= {f"key{index}": dimension, f"value{index}": value}
    return " AND ".join(conditions) or "true", values


def _bucket(bucket: str | int) -> str:
    if isinstance(bucket, int):
        start = f"strftime('%s', m.created_at) / {bucket} * {bucket}"
        return f"strftime('%Y-%m-%dT%H:%M:%S.000+00:00', {start}, 'unixepoch')"
    length, rest = BUCKETS[bucket]
    return f"substr(m.created_at, 1, {length}) || '{rest}'"
