"""What happened when: groups of requests by hour, day or month, of UTC or of another zone's clocks.

The roll-ups know the hours of UTC. A zone whose hours are the same ones is told from them; India's or Nepal's are not,
and are counted from the ledger's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from llmctl.core import clock, spans
from llmctl.core.report_data import Figures, Unit
from llmctl.store.database import Database
from llmctl.store.stats import group_by, query, report_queries
from llmctl.store.stats.scope import Scope
from llmctl.store.stats.totals import Groups, Tally

_CALENDAR_DAYS = 7 * 53


class Moments(NamedTuple):
    """Groups by moment, provider and model; and of a range in months the figures of its last days."""

    groups: Groups
    days: Mapping[str, Figures]


def counted(database: Database, scope: Scope, unit: Unit, zone: tzinfo | None, last_at: str | None) -> Moments:
    """Count a range by hours, days or months; ``last_at`` is when its last request began."""
    if zone is None:
        found = _tallies(database, scope, unit, None)
        days = report_queries.days(database, _calendar(scope, last_at)) if unit == "month" else []
        return Moments(found, {row["day"]: row for row in days})
    whole_hours = _has_whole_hours(zone, scope, last_at)
    fine = _tallies(database, scope, "hour", None) if whole_hours else _tallies(database, scope, "day", zone)
    if not whole_hours and unit == "hour":
        fine = _tallies(database, scope, "hour", zone)
    return Moments(_renamed(fine, _namer(unit, zone)), _days(fine, zone) if unit == "month" else {})


def _tallies(database: Database, scope: Scope, unit: Unit, zone: tzinfo | None) -> Groups:
    return query.tallies(database, scope, group_by.grouping(database, (unit, "provider", "model"), zone))


def _calendar(scope: Scope, last_at: str | None) -> Scope:
    """Return the part of a range that the calendar shows."""
    last = min(filter(None, (scope.until, last_at)), default=None)
    if last is None:
        return scope
    since = clock.later(last, -86400 * _CALENDAR_DAYS)[:10] + "T00:00:00.000+00:00"
    return scope._replace(since=max(since, scope.since or ""))


def _has_whole_hours(zone: tzinfo, scope: Scope, last_at: str | None) -> bool:
    moments = [clock.parsed(at) for at in (scope.since, scope.until, last_at) if at]
    offsets = [at.astimezone(zone).utcoffset() or timedelta() for moment in moments for at in _year(moment)]
    return all(not offset % timedelta(hours=1) for offset in offsets)


def _year(moment: datetime) -> list[datetime]:
    """Return the moment and one half a year from it: of summer and of winter."""
    return [moment, moment - timedelta(days=182)]


def _namer(unit: Unit, zone: tzinfo) -> Callable[[str], str]:
    """Return what gives an hour of UTC, or a day of the zone, the name of its moment."""
    lengths = {"hour": None, "day": 10, "month": 7}

    def name(fine: str) -> str:
        return spans.name(clock.parsed(fine), unit, zone) if len(fine) > 10 else fine[: lengths[unit]]

    return name


def _renamed(found: Groups, name: Callable[[str], str]) -> Groups:
    merged: Groups = {}
    names: dict[str, str] = {}
    for (fine, *others), tally in found.items():
        if fine not in names:
            names[fine] = name(fine)
        merged.setdefault((names[fine], *others), Tally()).merge(tally)
    return merged


def _days(found: Groups, zone: tzinfo) -> dict[str, Figures]:
    """Return requests, tokens and cost of each day of the zone, the last year's."""
    name = _namer("day", zone)
    days: dict[str, dict[str, Any]] = {}
    for (fine, *_), tally in found.items():
        day = days.setdefault(name(fine), {"requests": 0, "total_tokens": 0, "cost": None})
        day["requests"] += tally.sums["requests"]
        day["total_tokens"] += tally.sums["input_tokens"] + tally.sums["output_tokens"]
        if tally.sums["priced_requests"]:
            day["cost"] = (day["cost"] or 0) + tally.sums["cost"]
    return {day: days[day] for day in sorted(days)[-_CALENDAR_DAYS:]}
