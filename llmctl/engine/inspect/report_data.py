"""A report's numbers, from the roll-ups: what was asked, answered, used and paid, and what stands out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from llmctl.core import clock, spans
from llmctl.core.redaction.masking import Clean
from llmctl.core.report_data import Dashboard, Figures, Group, Range, Row, Unit
from llmctl.engine.inspect import time_series
from llmctl.store.database import Database
from llmctl.store.stats import activity, group_by, query, report_queries
from llmctl.store.stats.group_by import Grouping
from llmctl.store.stats.scope import Scope
from llmctl.store.stats.totals import Groups, Tally

#: Rows of the lists of single requests.
_TOP = 10
#: Reasons of failures are not in the roll-ups: so many of the newest requests are looked at.
_LOOKED_AT = 20_000
#: A range of more days than this is drawn by month, and has a calendar.
_MANY_DAYS = 92


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be reported. ``since`` and ``until`` are stored times; ``zone`` None is UTC.

    ``chats`` are ids of chats to describe; None takes the ``newest`` ones. Without ``names`` nothing that somebody
    wrote is told: no chats, no errors' texts.
    """

    hub: str
    since: str | None = None
    until: str | None = None
    zone: tzinfo | None = None
    zone_name: str = "UTC"
    chats: Sequence[str] | None = None
    newest: int = 50
    names: bool = True

    @property
    def scope(self) -> Scope:
        return Scope(since=self.since, until=self.until)


def gather(database: Database, wish: Wish, now: str) -> Dashboard:
    """Count everything for a report. A year of a million requests takes less than a second."""
    whole = _whole(database, wish.scope)
    range = _range(wish, whole, now)
    by_time, days = time_series.counted(database, wish.scope, range.unit, wish.zone, whole.last_at)
    by_party = query.tallies(database, wish.scope, group_by.grouping(database, ("agent", "tag", "status")))
    found = Dashboard(
        hub=wish.hub,
        range=range,
        total=whole.figures(),
        before=_before(database, wish, now),
        moments=_without_gaps(_merged(by_time, 0), range, whole, wish.zone),
        by_model={key: tally.figures() for key, tally in _merged(by_time, 0, 2).items()},
        models=_ordered(_merged(by_time, 2)),
        providers=_ordered(_merged(by_time, 1)),
        agents=_ordered(_merged(by_party, 0)),
        tags=_ordered(_merged(by_party, 1)),
        statuses=_ordered(_merged(by_party, 2)),
        tools=_tools(database, wish),
        days=days,
        durations=_numbers(whole.durations),
        first_tokens=_numbers(whole.first_tokens),
        **_single_ones(database, wish, whole.sums["requests"]),
    )
    return found if wish.names else _without_texts(found)


def _whole(database: Database, scope: Scope) -> Tally:
    whole = query.tallies(database, scope, Grouping()).get((), Tally())
    activity.count(database, scope, Grouping(), {(): whole})
    return whole


def _before(database: Database, wish: Wish, now: str) -> Figures | None:
    if wish.since is None:
        return None
    length = clock.parsed(min(wish.until or now, now)) - clock.parsed(wish.since)
    if length.total_seconds() <= 0:
        return None
    begin = clock.stored(clock.parsed(wish.since) - length)
    return _whole(database, Scope(since=begin, until=wish.since)).figures()


def _range(wish: Wish, whole: Tally, now: str) -> Range:
    since, until = wish.since or whole.first_at or now, min(wish.until or now, now)
    days = (clock.parsed(until) - clock.parsed(since)).total_seconds() / 86400
    unit: Unit = "hour" if days <= 2 else "day" if days <= _MANY_DAYS else "month"
    return Range(wish.since, wish.until, wish.zone, wish.zone_name, unit, now)


def _merged(found: Groups, *places: int) -> dict[Any, Tally]:
    """Add up groups that are the same at these places of their keys."""
    merged: dict[Any, Tally] = {}
    for key, tally in found.items():
        chosen = key[places[0]] if len(places) == 1 else tuple(key[place] for place in places)
        merged.setdefault(chosen, Tally()).merge(tally)
    return merged


def _without_gaps(found: dict[Any, Tally], range: Range, whole: Tally, zone: tzinfo | None) -> list[Group]:
    """Return a group for each moment of the range, busy or not."""
    if not found:
        return []
    first = range.since or whole.first_at
    last = range.until or (whole.last_at if range.since is None else None)
    begin = min(clock.parsed(first or range.written_at), _earliest(found, zone))
    end = clock.parsed(min(last or range.written_at, range.written_at))
    names = dict.fromkeys([*spans.names(begin, end, range.unit, zone), *sorted(found)])
    return [Group(name, found.get(name, Tally()).figures()) for name in sorted(names)]


def _earliest(moments: Iterable[str], zone: tzinfo | None) -> datetime:
    return spans.beginning(min(moments), zone)


def _ordered(found: dict[Any, Tally]) -> list[Group]:
    """Return groups, the dearest first; among those without a cost the one with the most tokens."""
    made = [Group(name, tally.figures()) for name, tally in found.items()]
    return sorted(made, key=_rank)


def _rank(group: Group) -> tuple[float, int, int, str]:
    figures = group.figures
    return (-(figures["cost"] or 0), -figures["total_tokens"], -figures["requests"], group.name or "")


def _tools(database: Database, wish: Wish) -> list[Group]:
    found: Groups = {}
    activity.count(database, wish.scope, group_by.grouping(database, ["tool"], wish.zone), found)
    made = [Group(key[0], tally.figures()) for key, tally in found.items() if tally.activity["tool_calls"]]
    return sorted(made, key=lambda group: (-group.figures["tool_calls"], group.name or ""))


def _single_ones(database: Database, wish: Wish, requests: int) -> dict[str, Any]:
    clean = Clean()
    slowest = report_queries.top(database, wish.scope, "duration", requests, _TOP)
    dearest = report_queries.top(database, wish.scope, "cost", requests, _TOP)
    told: dict[str, Sequence[Row]] = {
        "slowest": slowest,
        "dearest": dearest,
        "reasons": report_queries.failures(database, wish.scope, _LOOKED_AT),
        "chats": _chats(database, wish, [row["chat_id"] for row in (*dearest, *slowest) if row["chat_id"]]),
    }
    return {name: [clean.value(row) for row in rows] for name, rows in told.items()} | {
        "reasons_of": _LOOKED_AT if requests > _LOOKED_AT else None
    }


def _chats(database: Database, wish: Wish, named: Sequence[str]) -> list[Row]:
    """Return the chats that were asked for, or else the newest and those of the requests that are shown."""
    if not wish.names:
        return []
    if wish.chats is not None:
        return list(report_queries.described(database, wish.chats))
    ids = dict.fromkeys([*report_queries.newest_chats(database, wish.scope, wish.newest), *named])
    found = report_queries.described(database, list(ids))
    return sorted(found, key=lambda row: str(row["last_turn_at"] or row["created_at"]), reverse=True)


def _numbers(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(ms): count for ms, count in counts.items() if count}


def _without_texts(found: Dashboard) -> Dashboard:
    return replace(
        found, slowest=_wordless(found.slowest), dearest=_wordless(found.dearest), reasons=_wordless(found.reasons)
    )


def _wordless(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "chat": None, "chat_id": None, "example": None} for row in rows]
