"""Times as people type them (``2026-10-05``, ``7d``, ``yesterday``, ``last-month``), as the hub stores them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from llmctl.core import clock
from llmctl.core.errors import UsageError

_RELATIVE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_CALENDAR = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_WORD = re.compile(r"(this|last)-(week|month|year)")


class Span(NamedTuple):
    """Stored times: ``since`` belongs to it, ``until`` does not."""

    since: str
    until: str


def moment(text: str, *, now: datetime | None = None, zone: tzinfo = UTC) -> str:
    """Return the stored time of an RFC 3339 time, a date (its beginning) or a time ago (``90s 30m 2h 7d 4w``)."""
    word = text.strip().lower()
    if relative := _RELATIVE.fullmatch(word):
        return clock.stored(_ago(now, float(relative[1]) * _SECONDS[relative[2]], text))
    if word == "now":
        return clock.stored(now or datetime.now(UTC))
    if word in ("today", "yesterday") or _CALENDAR.fullmatch(word):
        return span(word, now=now, zone=zone).since
    try:
        found = datetime.fromisoformat(text.strip())
        return clock.stored(found if found.tzinfo else found.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise UsageError(
            f'no time "{text}"', hint="such as 2026-10-05, 2026-10-05T14:00:00Z, yesterday, or 7d for 7 days ago"
        ) from None


def seconds(text: str) -> float | None:
    """Return how long ``90s 30m 2h 7d 4w`` are; None for other text."""
    found = _RELATIVE.fullmatch(text.strip().lower())
    return float(found[1]) * _SECONDS[found[2]] if found else None


def span(text: str, *, now: datetime | None = None, zone: tzinfo = UTC) -> Span:
    """Return what a calendar word means in a time zone: a day, a week (from Monday), a month or a year."""
    word = text.strip().lower()
    today = (now or datetime.now(UTC)).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    try:
        begin, unit = _beginning(word, today)
        return Span(*(clock.stored(day.replace(tzinfo=zone)) for day in (begin, _next(begin, unit))))
    except (ValueError, OverflowError):
        raise UsageError(
            f'no period "{text}"',
            hint="there are today, yesterday, this-week, last-week, this-month, last-month, this-year, last-year, "
            "2026, 2026-10 and 2026-10-05",
        ) from None


def time_zone(name: str) -> tzinfo:
    """Return a time zone by its name, or that of this machine for ``local``."""
    if name.lower() in ("utc", "z"):
        return UTC
    if name.lower() == "local":
        return _Local()
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # only with --tz

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f'no time zone "{name}"', hint="such as Europe/Berlin, UTC or local") from None


class _Local(tzinfo):
    """The zone of this machine, by its C library."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return moment.replace(tzinfo=None).astimezone().utcoffset() if moment else None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return "local"

    def fromutc(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def _ago(now: datetime | None, seconds: float, text: str) -> datetime:
    try:
        return (now or datetime.now(UTC)) - timedelta(seconds=seconds)
    except OverflowError:
        raise UsageError(f'no time "{text}": it is too long ago') from None


def _beginning(word: str, today: datetime) -> tuple[datetime, str]:
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday"), "day"
    if found := _WORD.fullmatch(word):
        return _named(found[1], found[2], today), found[2]
    if not (found := _CALENDAR.fullmatch(word)):
        raise ValueError(word)
    year, month, day = found.groups()
    return datetime(int(year), int(month or 1), int(day or 1)), "day" if day else "month" if month else "year"


def _named(which: str, unit: str, today: datetime) -> datetime:
    if unit == "week":
        begin = today - timedelta(days=today.weekday())
        return begin - timedelta(days=7 * (which == "last"))
    begin = today.replace(day=1, month=1 if unit == "year" else today.month)
    if which == "this":
        return begin
    return (begin - timedelta(days=1)).replace(day=1, month=1 if unit == "year" else (begin - timedelta(days=1)).month)


def _next(begin: datetime, unit: str) -> datetime:
    if unit == "year":
        return begin.replace(year=begin.year + 1)
    if unit == "month":
        return (begin + timedelta(days=31)).replace(day=1)
    return begin + timedelta(days=7 if unit == "week" else 1)
