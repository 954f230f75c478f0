"""Sums of many requests at once, added to the roll-ups. What one request adds is the triggers' to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from llmctl.core.stored_json import dumps, loads
from llmctl.store.database import Database, Row
from llmctl.store.schema import ddl

#: The beginning of each unit's time, and what completes it.
_UNITS = {
    "hour": (13, ":00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "month": (7, "-01T00:00:00.000+00:00"),
}
_HISTOGRAM = "_histogram"
_EARLIEST, _LATEST = "first_at", "last_at"
_MINUS = "-"
#: Sums that are no column of ``usage_deltas``.
_OF_SIGNS = {"requests": "sign", "failed_requests": "sign * (status = 'failed')"}


@dataclass(frozen=True, slots=True)
class _RollUp:
    """A table of sums: its columns by what becomes of them."""

    table: str
    unit: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    histograms: tuple[str, ...]

    @property
    def key_sql(self) -> str:
        length, rest = _UNITS[self.unit]
        time = f"substr(created_at, 1, {length}) || '{rest}' AS {self.unit}"
        return ", ".join(time if key == self.unit else key for key in self.keys)

    @property
    def groups(self) -> str:
        return ", ".join(str(place) for place in range(1, len(self.keys) + 1))


class RollUps:
    """The roll-ups of one hub. What requests add stands in ``llmctl_deltas``, in the columns of ``usage_deltas``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = [_described(database, unit, table) for unit, table in ddl.ROLL_UPS.items()]

    def fit(self, columns: Collection[str]) -> bool:
        """Tell whether all that is kept follows from what requests add, in these columns."""
        known = {*columns, *_OF_SIGNS, *_UNITS, _EARLIEST, _LATEST}
        return all(
            {*roll_up.keys, *roll_up.sums} <= known and {_bucket(name) for name in roll_up.histograms} <= known
            for roll_up in self._known
        )

    def add_all(self) -> None:
        """Add what was collected, and forget it."""
        if self._database.value("SELECT 1 FROM llmctl_deltas LIMIT 1"):
            for roll_up in self._known:
                self._add(roll_up)
            self._database.execute("DELETE FROM llmctl_deltas")

    def _add(self, roll_up: _RollUp) -> None:
        sums = ", ".join(
            f"sum({_OF_SIGNS.get(name, name)}) AS {name}" for name in roll_up.sums if name not in (_EARLIEST, _LATEST)
        )
        times = f"min(created_at) AS {_EARLIEST}, max(created_at) AS {_LATEST}"
        minus = f"CASE WHEN sign < 0 THEN '{_MINUS}' ELSE '' END"
        buckets = ", ".join(f"group_concat({minus} || {_bucket(name)}) AS {name}" for name in roll_up.histograms)
        select = f"SELECT {roll_up.key_sql}, {sums}, {times}, {buckets} FROM llmctl_deltas GROUP BY {roll_up.groups}"
        for row in self._database.query(select):
            for name in roll_up.histograms:
                row[name] = _counted(row[name])
            self._put(roll_up, row)

    def _put(self, roll_up: _RollUp, sums: Row) -> None:
        where = " AND ".join(f"{name} = :{name}" for name in roll_up.keys)
        known = self._database.one(f"SELECT * FROM {{{roll_up.table}}} WHERE {where}", sums)
        merged = _merged(roll_up, known, sums) if known else sums
        values = {name: dumps(value) if isinstance(value, dict) else value for name, value in merged.items()}
        if merged["requests"] == 0:
            self._database.execute(f"DELETE FROM {{{roll_up.table}}} WHERE {where}", sums)
        elif known:
            changes = ", ".join(f"{name} = :{name}" for name in values if name not in roll_up.keys)
            self._database.execute(f"UPDATE {{{roll_up.table}}} SET {changes} WHERE {where}", values)
        else:
            marks = ", ".join(f":{name}" for name in values)
            self._database.execute(f"INSERT INTO {{{roll_up.table}}} ({', '.join(values)}) VALUES ({marks})", values)


def _bucket(histogram: str) -> str:
    return histogram.removesuffix(_HISTOGRAM) + "_bucket"


def _counted(buckets: str | None) -> dict[str, int]:
    """Count buckets that are named one by one; what is taken away has a sign before it."""
    counts = Counter(buckets.split(",") if buckets else ())
    for taken in [bucket for bucket in counts if bucket.startswith(_MINUS)]:
        counts[taken.removeprefix(_MINUS)] -= counts.pop(taken)
    return dict(counts)


def _described(database: Database, unit: str, table: str) -> _RollUp:
    columns = database.query(f"PRAGMA table_info({{{table}}})")
    keys = tuple(row["name"] for row in sorted(columns, key=lambda row: row["pk"]) if row["pk"])
    names = [row["name"] for row in columns if not row["pk"]]
    histograms = tuple(name for name in names if name.endswith(_HISTOGRAM))
    return _RollUp(table, unit, keys, tuple(name for name in names if name not in histograms), histograms)


def _merged(roll_up: _RollUp, known: Row, sums: Row) -> Row:
    found = dict(sums)
    for name in roll_up.histograms:
        before: dict[str, int] = loads(known[name]) or {}
        found[name] = before | {bucket: before.get(bucket, 0) + number for bucket, number in sums[name].items()}
    for name in roll_up.sums:
        both = [value for value in (known[name], sums[name]) if value is not None]
        if name in (_EARLIEST, _LATEST):
            found[name] = min(both) if name == _EARLIEST else max(both)
        else:
            found[name] = sum(both) if both else None
    return found
