"""Parse times and periods as users type them (``2026-10-05``, ``7d``, ``yesterday``, ``last-month``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import UsageError

_RELATIVE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_CALENDAR = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_WORD = re.compile(r"(?:(this|last|previous)[- _])?(day|week|month|year)")
#: ``7d``, ``last-7d``, ``7 days``, ``last 12 months``: months and years have the length of an average one.
_SPAN = re.compile(
    r"(?:(?:last|past|previous)[- _])?([0-9]+(?:\.[0-9]+)?)[- _]?(hours?|days?|weeks?|months?|years?|h|d|w|min|m|s)"
)
_SPAN_SECONDS = {"hour": 3600, "day": 86400, "week": 604800, "month": 2629746, "year": 31556952} | _SECONDS


class TimeRange(NamedTuple):
    """A half-open range of stored times: ``since`` is included, ``until`` is not."""

    since: str
    until: str


def parse_time(text: str, *, now: datetime | None = None, zone: tzinfo = UTC, words: bool = True) -> str:
    """Return the stored time of an RFC 3339 time, an age (``90s 30m 2h 7d 4w``) or a period, of which it is the start.

    Periods are those of :func:`parse_period`: ``2026-10``, ``yesterday``, ``month``, ``last-week``. Without ``words``,
    ``week`` and the like are refused: for what deletes, the start of this week may be too near.
    """
    word = text.strip().lower()
    if relative := _RELATIVE.fullmatch(word):
        return clock.format(_subtract_seconds(now, float(relative[1]) * _SECONDS[relative[2]], f'time "{text}"'))
    if word == "now":
        return clock.format(now or datetime.now(UTC))
    periods = (_CALENDAR, _WORD, _SPAN) if words else (_CALENDAR,)
    if word in ("today", "yesterday") or any(form.fullmatch(word) for form in periods):
        return parse_period(word, now=now, zone=zone).since
    try:
        found = datetime.fromisoformat(text.strip())
        return clock.format(found if found.tzinfo else found.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise UsageError(
            f'cannot parse the time "{text}"',
            hint="use 2026-10-05, 2026-10-05T14:00:00Z, yesterday, month, last-week, or 7d for 7 days ago",
        ) from None


def parse_seconds(text: str) -> float | None:
    """Return the seconds of a duration such as ``90s 30m 2h 7d 4w``; None for other text."""
    found = _RELATIVE.fullmatch(text.strip().lower())
    return float(found[1]) * _SECONDS[found[2]] if found else None


def parse_period(text: str, *, now: datetime | None = None, zone: tzinfo = UTC) -> TimeRange:
    """Return the range of a day, a week (from Monday), a month or a year in a time zone, or of the last such as ``7d``.

    ``week`` is this week, ``last-week`` the one before, ``last-7-days`` what ``7d`` is: until now.
    """
    word = text.strip().lower()
    if span := _SPAN.fullmatch(word):
        seconds = float(span[1]) * _SPAN_SECONDS.get(span[2].removesuffix("s") or "s", 1)
        end = now or datetime.now(UTC)
        return TimeRange(clock.format(_subtract_seconds(end, seconds, f'period "{text}"')), clock.format(end))
    today = (now or datetime.now(UTC)).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    try:
        begin, unit = _find_start(word, today)
        return TimeRange(*(clock.format(day.replace(tzinfo=zone)) for day in (begin, _start_of_next(begin, unit))))
    except (ValueError, OverflowError):
        raise UsageError(
            f'cannot parse the period "{text}"',
            hint="use today, yesterday, week, month, year, last-week, last-month, last-year, 7d, "
            "2026, 2026-10 or 2026-10-05",
        ) from None


def parse_time_zone(name: str) -> tzinfo:
    """Return the time zone of that name, or of this machine for ``local``."""
    if name.lower() in ("utc", "z"):
        return UTC
    if name.lower() == "local":
        return _LocalZone()
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # only with --tz

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f'unknown time zone "{name}"', hint="use a name such as Europe/Berlin, UTC or local") from None


class _LocalZone(tzinfo):
    """The time zone of this machine, from its C library."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return moment.replace(tzinfo=None).astimezone().utcoffset() if moment else None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return "local"

    def fromutc(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def _subtract_seconds(now: datetime | None, seconds: float, what: str) -> datetime:
    try:
        return (now or datetime.now(UTC)) - timedelta(seconds=seconds)
    except OverflowError:
        raise UsageError(f"cannot parse the {what}: it is too long ago") from None


def _find_start(word: str, today: datetime) -> tuple[datetime, str]:
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday"), "day"
    if found := _WORD.fullmatch(word):
        return _start_of_named(found[1] or "this", found[2], today), found[2]
    if not (found := _CALENDAR.fullmatch(word)):
        raise ValueError(word)
    year, month, day = found.groups()
    return datetime(int(year), int(month or 1), int(day or 1)), "day" if day else "month" if month else "year"


def _start_of_named(which: str, unit: str, today: datetime) -> datetime:
    if unit == "day":
        return today - timedelta(days=which != "this")
    if unit == "week":
        begin = today - timedelta(days=today.weekday())
        return begin - timedelta(days=7 * (which != "this"))
    begin = today.replace(day=1, month=1 if unit == "year" else today.month)
    if which == "this":
        return begin
    return (begin - timedelta(days=1)).replace(day=1, month=1 if unit == "year" else (begin - timedelta(days=1)).month)


def _start_of_next(begin: datetime, unit: str) -> datetime:
    if unit == "year":
        return begin.replace(year=begin.year + 1)
    if unit == "month":
        return (begin + timedelta(days=31)).replace(day=1)
    return begin + timedelta(days=7 if unit == "week" else 1)


_STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=27)}
_LENGTHS = {"day": 10, "month": 7}


def period_names(
    begin: datetime, end: datetime, unit: Literal["hour", "day", "month"], zone: tzinfo | None
) -> Iterator[str]:
    """Yield the name of each hour, day or month from ``begin`` up to ``end`` (at least one), in local time of the zone.

    Names are those of ``stats --group-by``; a month may be yielded twice.
    """
    moment = begin
    while True:
        yield period_name(moment, unit, zone)
        moment += _STEPS[unit]
        if moment >= end:
            break
    if unit != "hour" and end > begin:
        yield period_name(end - timedelta(milliseconds=1), unit, zone)


def period_name(moment: datetime, unit: Literal["hour", "day", "month"], zone: tzinfo | None) -> str:
    """Return the name of the hour, day or month that contains a moment."""
    local = moment.astimezone(zone or UTC)
    if unit == "hour":
        return local.strftime("%Y-%m-%dT%H:00:00.000") + local.isoformat()[-6:]
    return local.strftime("%Y-%m-%d")[: _LENGTHS[unit]]


def period_start(name: str, zone: tzinfo | None) -> datetime:
    """Return the moment at which the hour, day or month of that name starts."""
    if len(name) > 10:
        return clock.parse(name)
    return datetime.fromisoformat(f"{name}-01"[:10]).replace(tzinfo=zone or UTC)
