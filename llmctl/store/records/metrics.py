"""Metrics: numbers that were measured at a time, with dimensions; kept, listed, aggregated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps
from llmctl.store.database import Database, Row
from llmctl.store.serialize import Shape
from llmctl.store.writes import Insert

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
#: Calendar units: how many characters of a time begin them, and what completes these to a time.
BUCKETS = {
    "minute": (16, ":00.000+00:00"),
    "hour": (13, ":00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "month": (7, "-01T00:00:00.000+00:00"),
    "year": (4, "-01-01T00:00:00.000+00:00"),
}

#: A dimension's value as text; a JSON path cannot name every key.
_DIMENSION = """(
  SELECT CASE WHEN e.type IN ('true', 'false', 'null') THEN e.type ELSE CAST(e.value AS TEXT) END
  FROM json_each(m.dimensions) e WHERE e.key = {key})"""
_QUERY = """
WITH chosen AS (SELECT {keys}m.value AS value FROM {{metrics}} m WHERE {where}),
ranked AS (
  SELECT *, row_number() OVER ({partition} ORDER BY value) AS place, count(*) OVER ({partition}) AS number FROM chosen)
SELECT {names}{sums} FROM ranked {order}
"""
#: The last value of each name and dimensions: SQLite takes the other columns from the row of the maximum.
_LATEST = """
SELECT name, dimensions, value, max(created_at) AS created_at FROM {metrics} m WHERE %s
GROUP BY name, dimensions ORDER BY name, dimensions
"""


class Filter(NamedTuple):
    """Which metrics: all that is set must hold. ``where`` are pairs of a dimension and its value."""

    name: str | None = None
    since: str | None = None
    until: str | None = None
    where: Sequence[tuple[str, str]] = ()


class Query(NamedTuple):
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
    """Keep a value; return the record."""
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
    return Shape(database, "metrics").record(row)


def listed(database: Database, wanted: Filter, limit: int | None) -> Iterator[Row]:
    """Yield metrics as records, newest first."""
    shape = Shape(database, "metrics")
    where, values = _conditions(wanted)
    sql = f"SELECT m.* FROM {{metrics}} m WHERE {where} ORDER BY m.created_at DESC, m.rowid DESC LIMIT :limit"
    return (shape.record(row) for row in database.rows(sql, values | {"limit": -1 if limit is None else limit}))


def query(database: Database, wanted: Filter, how: Query) -> Iterator[Row]:
    """Yield a row for each bucket and each combination of dimensions: these, then the aggregates. Times ascend."""
    where, values = _conditions(wanted)
    keys: list[str] = []
    if how.bucket is not None:
        keys.append(f"{_bucket(how.bucket)} AS bucket")
    for index, dimension in enumerate(how.by):
        keys.append(f"{_DIMENSION.format(key=f':by{index}')} AS k{index}")
        values[f"by{index}"] = dimension
    names = [key.rpartition(" ")[2] for key in keys]
    sql = _QUERY.format(
        keys="".join(f"{key}, " for key in keys),
        where=where,
        partition=f"PARTITION BY {', '.join(names)}" if names else "",
        names="".join(f"{name}, " for name in names),
        sums=", ".join(f"{AGGREGATES[name]} AS {name}" for name in how.aggregates),
        order=f"GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}" if names else "",
    )
    for row in database.rows(sql, values):
        yield {how.by[int(name[1:])] if name[1:].isdecimal() and name in names else name: row[name] for name in row}


def latest(database: Database, wanted: Filter) -> Iterator[Row]:
    """Yield the newest value of each name and dimensions, as records, by name."""
    shape = Shape(database, "metrics")
    where, values = _conditions(wanted)
    return (shape.record(row) for row in database.rows(_LATEST % where, values))


def _conditions(wanted: Filter) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {"name": wanted.name, "since": wanted.since, "until": wanted.until}
    conditions = ["m.name = :name"] * (wanted.name is not None)
    conditions += ["m.created_at >= :since"] * (wanted.since is not None)
    conditions += ["m.created_at < :until"] * (wanted.until is not None)
    for index, (dimension, value) in enumerate(wanted.where):
        conditions.append(f"{_DIMENSION.format(key=f':key{index}')} = :value{index}")
        values |= {f"key{index}": dimension, f"value{index}": value}
    return " AND ".join(conditions) or "true", values


def _bucket(bucket: str | int) -> str:
    if isinstance(bucket, int):
        start = f"strftime('%s', m.created_at) / {bucket} * {bucket}"
        return f"strftime('%Y-%m-%dT%H:%M:%S.000+00:00', {start}, 'unixepoch')"
    length, rest = BUCKETS[bucket]
    return f"substr(m.created_at, 1, {length}) || '{rest}'"
