"""What a report gathers: every way of cutting it adds up to the same, under any table names and clocks."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from llmctl.core import clock, time_ranges
from llmctl.core.report_data import ReportData
from llmctl.engine.inspect.report_data import ReportOptions, collect_report
from llmctl.store.database import Database
from llmctl.store.stats import report_queries
from llmctl.store.stats.group_by import Scope
from tests.fakes.hub_builder import HubBuilder

NOW = "2026-11-20T12:00:00.000+00:00"
SUMS = ("requests", "failed_requests", "input_tokens", "output_tokens", "cached_tokens")


@pytest.fixture
def year(any_hub: HubBuilder) -> Database:
    """Sixty requests over a year, of three models, two agents and none, three tags and none."""
    rows, chance = HubBuilder(any_hub.database, "2025-11-21T00:10:00.000+00:00"), random.Random(7)
    chat = rows.chat("one")
    for index in range(60):
        failed = index % 7 == 0
        rows.step(
            chat,
            "b",
            model=chance.choice(["a", "b", "c"]),
            agent=chance.choice(["coder", None]),
            tag=chance.choice(["ci", "x", None]),
            status="failed" if failed else "completed",
            error_reason=chance.choice(["timeout", "rate_limit"]) if failed else None,
            cost=None if failed else chance.random(),
            duration=chance.randrange(1, 90_000),
            input_tokens=chance.randrange(1000),
            output_tokens=chance.randrange(1000),
            cached_tokens=0,
        )
        rows.tick(86400 * 6.05)
    return any_hub.database


def sums(groups: Any) -> dict[str, Any]:
    """Add up figures as the total has them."""
    figures = list(groups)
    found: dict[str, Any] = {name: sum(one[name] for one in figures) for name in SUMS}
    return found | {"cost": pytest.approx(sum(one["cost"] or 0 for one in figures))}


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("since", "until"),
    [
        (None, None),
        ("2026-02-03T04:05:06.007+00:00", None),
        ("2026-03-04T10:00:00.000+00:00", "2026-05-06T07:08:09.000+00:00"),
        ("2026-11-12T13:20:00.000+00:00", "2026-11-14T13:10:00.000+00:00"),
    ],
)
def test_every_cut_adds_up_to_the_total(year: Database, since: str | None, until: str | None, zone: str | None) -> None:
    clocks = time_ranges.parse_time_zone(zone) if zone else None
    found = collect_report(year, ReportOptions("hub.db", since, until, clocks, zone or "UTC"), NOW)
    total = {name: found.total[name] for name in (*SUMS, "cost")}
    total["cost"] = total["cost"] or 0
    assert total["requests"]
    for part in (found.time_series, found.models, found.providers, found.agents, found.tags, found.statuses):
        assert sums(group.figures for group in part) == total
    assert sums(found.by_model.values()) == total
    assert sum(found.durations.values()) == total["requests"]
    if found.daily:
        assert sum(day["requests"] for day in found.daily.values()) == total["requests"]
        assert sum(day["cost"] or 0 for day in found.daily.values()) == pytest.approx(total["cost"])
    assert sum(failure.requests for failure in found.failure_reasons) == total["failed_requests"]
    assert gaps(found) == []


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("since", [None, "2026-10-20T00:00:00.000+00:00", "2026-11-12T20:30:00.000+00:00"])
def test_moments_of_a_zone_are_those_of_its_clocks(year: Database, since: str | None, zone: str) -> None:
    clocks = time_ranges.parse_time_zone(zone)
    found = collect_report(
        year,
        ReportOptions("hub.db", since, None, clocks, zone),
        NOW if since is None else "2026-11-14T00:00:00.000+00:00",
    )
    unit = found.range.unit
    expected: Counter[str] = Counter()
    for row in year.rows("SELECT created_at FROM {requests} WHERE created_at >= ?", (since or "",)):
        expected[time_ranges.period_name(clock.parse(row["created_at"]), unit, clocks)] += 1
    assert {
        group.name: group.figures["requests"] for group in found.time_series if group.figures["requests"]
    } == expected
    if found.daily:
        local = [clock.parse(row["created_at"]).astimezone(clocks) for row in year.rows("SELECT * FROM {requests}")]
        assert {day: one["requests"] for day, one in found.daily.items()} == Counter(f"{at:%Y-%m-%d}" for at in local)


def test_groups_have_their_names(year: Database) -> None:
    found = collect_report(year, ReportOptions("hub.db"), NOW)
    parts = {"models": "abc", "agents": ["coder", None], "tags": ["ci", "x", None], "statuses": ["completed", "failed"]}
    assert parts
    for name, expected in parts.items():
        assert {group.name for group in getattr(found, name)} == set(expected)


def gaps(found: ReportData) -> list[str]:
    """Return the moments that are not followed by the next one."""
    names = [group.name or "" for group in found.time_series]
    assert names == sorted(set(names))
    if found.range.unit == "month":
        numbers = [int(name[:4]) * 12 + int(name[5:7]) for name in names]
    else:
        numbers = [
            round(clock.parse(name).timestamp() / {"day": 86400, "hour": 3600}[found.range.unit]) for name in names
        ]
    return [name for name, a, b in zip(names, numbers, numbers[1:], strict=False) if b != a + 1]


@pytest.mark.parametrize(
    ("since", "unit"),
    [(None, "month"), ("2026-10-20T00:00:00.000+00:00", "day"), ("2026-11-19T00:00:00.000+00:00", "hour")],
)
def test_steps_fit_the_range(year: Database, since: str | None, unit: str) -> None:
    found = collect_report(year, ReportOptions("hub.db", since), NOW)
    assert (found.range.unit, bool(found.daily)) == (unit, unit == "month")
    assert (found.previous_total is None) == (since is None)


@pytest.mark.parametrize("many", [False, True])
def test_the_worst_come_first_however_they_are_found(year: Database, many: bool) -> None:
    scope = Scope(since="2026-01-01T00:00:00.000+00:00", until="2026-10-01T00:00:00.000+00:00")
    for measure, column in (("duration", "duration_ms"), ("cost", "cost")):
        of = 1_000_000 if many else 60
        found = [row[column] for row in report_queries.top_requests(year, scope, measure, of, 5)]  # type: ignore[arg-type]
        sql = f"SELECT {measure} FROM {{requests}} WHERE created_at >= ? AND created_at < ? ORDER BY {measure} DESC"
        assert found == [row[measure] for row in year.query(sql, (scope.since, scope.until))][:5]


def test_nothing_is_written(year: Database) -> None:
    before = year.connection.total_changes
    year.connection.execute("PRAGMA query_only=1")
    collect_report(year, ReportOptions("hub.db"), NOW)
    assert year.connection.total_changes == before
