"""Fill ``usage_labels``, the totals by tool, script and folder, from the ledger.

Triggers count what happens from now on. A hub that was upgraded has a longer history: its days are counted one by one,
from the last to the first, and until then ``stats`` reads the rows instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import dumps
from llmctl.store.database import Database
from llmctl.store.stats import group_by, query
from llmctl.store.stats.group_by import LABELS, LABELS_FROM, Scope
from llmctl.store.stats.totals import UsageTotals

_SET_FROM = """
INSERT INTO {hub_meta} (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_MONTHS = "SELECT DISTINCT substr(period, 1, 7) AS month FROM {usage_labels} WHERE unit = 'day'"
_DELETE = "DELETE FROM {usage_labels} WHERE unit = :unit AND period = :period AND kind = :kind"
_DAYS, _MONTH_ENDS = "T00:00:00.000+00:00", "-01T00:00:00.000+00:00"


def fill_labels(database: Database, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Count the days that are missing, each in a transaction of its own; the next run continues where one was killed.

    ``progress`` receives how many days are done, of how many.
    """
    end = before = database.meta(LABELS_FROM)
    if before is None:
        return
    first = database.value("SELECT min(created_at) FROM {requests}") or before
    total = _count_days(first[:10] + _DAYS, end)
    while last := database.value("SELECT max(created_at) FROM {requests} WHERE created_at < ?", (before,)):
        day = before = last[:10] + _DAYS
        with database.transaction():
            _count_period(database, "day", day, None)
            database.execute(_SET_FROM, {"key": LABELS_FROM, "value": dumps(day)})
        progress(_count_days(day, end), total)
    for row in database.query(_MONTHS):
        with database.transaction():
            _count_period(database, "month", row["month"] + _MONTH_ENDS, "day")
    database.execute("DELETE FROM {hub_meta} WHERE key = ?", (LABELS_FROM,))


#: Every request has one script and one folder, or none; it may have called more than one tool.
_FIND_LOW = """
SELECT m.kind FROM (
  SELECT k.column1 AS kind, r.month, r.requests FROM (VALUES ('tool'), ('script'), ('folder')) k, (
    SELECT substr(created_at, 1, 7) || '-01T00:00:00.000+00:00' AS month, count(*) AS requests
    FROM {requests} WHERE status <> 'pending' GROUP BY 1
  ) r
) m LEFT JOIN (
  SELECT kind, period, unit, sum(requests) AS requests FROM {usage_labels} WHERE unit = 'month' GROUP BY 1, 2
) l ON l.kind = m.kind AND l.period = m.month
WHERE coalesce(l.requests, 0) < m.requests LIMIT 1
"""


def find_problem(database: Database) -> str | None:
    """Return what is wrong with the roll-up: it counts fewer requests than there are; nothing before it is filled."""
    if database.meta(LABELS_FROM) is None and database.query(_FIND_LOW):
        return "requests are missing from the totals by tool, script or folder"
    return None


def refill_labels(database: Database) -> None:
    """Count everything anew from the rows."""
    tomorrow = clock.add_seconds(clock.now(), 24 * 60 * 60)[:10] + _DAYS
    last = database.value("SELECT max(created_at) FROM {requests}") or tomorrow
    with database.transaction():
        database.execute("DELETE FROM {usage_labels}")
        value = dumps(max(tomorrow, clock.add_seconds(last, 24 * 60 * 60)[:10] + _DAYS))
        database.execute(_SET_FROM, {"key": LABELS_FROM, "value": value})
    fill_labels(database)


def _count_period(database: Database, unit: str, period: str, source: group_by.Unit | None) -> None:
    """Count a day from the rows of the ledger, or a month from its days."""
    until = (_next_day if unit == "day" else _next_month)(period)
    for kind in LABELS:
        database.execute(_DELETE, {"unit": unit, "period": period, "kind": kind})
        grouping = group_by.build_grouping(database, [kind])
        groups = query.sum_source(database, Scope(since=period, until=until), grouping, source)
        for (label,), tally in groups.items():
            keys = {"unit": unit, "period": period, "kind": kind, "label": label or ""}
            _insert(database, keys | _columns(tally, rounded=source is None))


def _insert(database: Database, row: Mapping[str, Any]) -> None:
    marks = ", ".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO {{usage_labels}} ({', '.join(row)}) VALUES ({marks})", row)


def _columns(tally: UsageTotals, *, rounded: bool) -> dict[str, Any]:
    counted = {"duration_histogram": tally.durations, "first_token_histogram": tally.first_tokens}
    histograms = {name: dumps(dict(_round_times(counts)) if rounded else counts) for name, counts in counted.items()}
    times = {"first_at": tally.first_at, "last_at": tally.last_at, "cache_savings": tally.cache_savings}
    return tally.sums | histograms | times


def _round_times(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the counts by rounded times, as ``schema/850_triggers.sql`` rounds them."""
    result: dict[int, int] = {}
    for text, count in counts.items():
        ms = int(text)
        unit = 10 ** max(0, len(text) - 2)
        step = unit * (1 + (ms >= 20 * unit) + 2 * (ms >= 40 * unit))
        rounded = (ms + step // 2) // step * step
        result[rounded] = result.get(rounded, 0) + count
    yield from ((str(ms), count) for ms, count in result.items())


def _count_days(since: str, until: str) -> int:
    return (clock.parse(until) - clock.parse(since)).days


def _next_day(start: str) -> str:
    return clock.add_seconds(start, 24 * 60 * 60)


def _next_month(start: str) -> str:
    return clock.add_seconds(start, 32 * 24 * 60 * 60)[:7] + _MONTH_ENDS
