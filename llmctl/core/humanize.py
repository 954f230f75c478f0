"""Numbers, money, durations, sizes and times as people read them: one way to write each. JSON never uses these."""

from __future__ import annotations

import time
from datetime import UTC, tzinfo
from math import floor, log10

from llmctl.core import clock

#: Shown for an unknown value.
NO_VALUE = "–"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COMPACT_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
_SIZE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
#: Upper limit in seconds, length of the unit in seconds, its name.
_AGE_UNITS = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (86400 * 30, 86400, "d"))


def format_dollars(amount: float | None) -> str:
    """Return such as ``$1,234.50``, ``$12.34`` or ``$0.0041``: cents, or three digits that count below a dollar."""
    if amount is None:
        return NO_VALUE
    size, sign = abs(amount), "−" if amount < 0 else ""
    if size == 0 or size >= 10_000:
        return f"{sign}${size:,.0f}"
    if size >= 1:
        return f"{sign}${size:,.2f}"
    digits = 2 - floor(log10(size))
    text = f"{size:.{digits}f}".rstrip("0")
    return f"{sign}${text}{'0' * max(0, 2 - len(text.partition('.')[2]))}" if "." in text else f"{sign}${text}.00"


def format_count(count: float | None) -> str:
    """Return a whole number with separated thousands: ``1,234,567``."""
    return NO_VALUE if count is None else f"{count:,.0f}"


def format_compact(count: float | None) -> str:
    """Return a number with three digits: ``1.24M``."""
    if count is None:
        return NO_VALUE
    for step, letter in _COMPACT_UNITS:
        if abs(count) >= step * 0.9995:
            return f"{_three_digits(count / step)}{letter}"
    return f"{count:.0f}"


def format_size(size_bytes: int) -> str:
    """Return a number of bytes with three digits: ``999 bytes``, ``1.24 MB``."""
    for step, unit in _SIZE_UNITS:
        if size_bytes >= step * 0.9995:
            return f"{_three_digits(size_bytes / step)} {unit}"
    return pluralize(size_bytes, "byte")


def format_duration(ms: float | None) -> str:
    """Return milliseconds in a unit that fits: ``250 ms``, ``1.5 s``, ``30 s``, ``2.5 min``, ``1.7 h``."""
    if ms is None:
        return NO_VALUE
    if ms < 999.5:
        return f"{ms:.0f} ms"
    for limit, unit, name in ((100_000, 1000, "s"), (6_000_000, 60_000, "min")):
        if ms < limit:
            return f"{_one_decimal(ms / unit)} {name}"
    return f"{_one_decimal(ms / 3_600_000)} h"


def format_percent(part: float | None, whole: float | None) -> str:
    """Return a part as a percentage of the whole: ``12 %``, ``0.5 %``."""
    if not whole or part is None:
        return NO_VALUE
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent == 0 or percent >= 10 else "<0.1 %" if percent < 0.05 else f"{percent:.1f} %"


def format_change(now: float | None, before: float | None) -> str | None:
    """Return relative growth such as ``+12 %``; None without a previous value, or beyond 999 %."""
    if not before or now is None:
        return None
    percent = round(100 * (now - before) / before)
    if abs(percent) > 999:
        return None
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent)} %"


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 request``, ``1,234 requests``; ``plural`` is for ``retries`` and the like."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def format_title(name: str | None, prompt: str | None, id: str, max_chars: int = 60) -> str:
    """Return what a chat is called everywhere: its name, else the first words of its first prompt, else its short id.

    A title is one line; escapes for terminals or HTML are the caller's.
    """
    words = name or " ".join((prompt or "").split())
    if len(words) > max_chars and not name:
        cut = words[:max_chars]
        words = f"{cut[: cut.rfind(' ')] if ' ' in cut[max_chars // 2 :] else cut[:-1]}…"
    return words or id[:8]


def format_age(at: str, now: float | None = None) -> str:
    """Return a stored time relative to now (Unix seconds): ``5 s ago``, ``in 3 d``; the date beyond 30 days."""
    seconds = (time.time() if now is None else now) - clock.parse(at).timestamp()
    for limit, unit, name in _AGE_UNITS:
        if abs(seconds) < limit:
            count = int(abs(seconds) / unit)
            return f"{count} {name} ago" if seconds >= 0 else f"in {count} {name}"
    return at[:10]


def format_time(at: str | None, zone: tzinfo | None) -> str:
    """Return a stored time in a time zone, to the minute: ``2026-10-05 14:30``."""
    return clock.parse(at).astimezone(zone or UTC).strftime("%Y-%m-%d %H:%M") if at else NO_VALUE


def format_day(at: str | None, zone: tzinfo | None) -> str | None:
    """Return the day of a stored time as HTML date inputs take it: ``2026-10-05``."""
    return format_time(at, zone)[:10] if at else None


def format_date(at: str, zone: tzinfo | None) -> str:
    """Return the day of a stored time: ``5 Oct 2026``."""
    local = clock.parse(at).astimezone(zone or UTC)
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def format_bucket(name: str) -> str:
    """Return the name of an hour, day or month bucket in full: ``5 Oct 2026, 14:00``, ``Oct 2026``."""
    if len(name) > 10:
        return f"{format_bucket(name[:10])}, {name[11:16]}"
    year, month, *day = name.split("-")
    return " ".join([*(str(int(d)) for d in day), _MONTHS[int(month) - 1], year])


def format_tick(name: str, previous: str | None) -> str:
    """Return a bucket's name for an axis: only what differs from the previous label."""
    if len(name) > 10:
        return name[11:16] if previous and previous[:10] == name[:10] else f"{_day_and_month(name)} {name[11:16]}"
    same_year = bool(previous) and str(previous)[:4] == name[:4]
    if len(name) == 10:
        return _day_and_month(name) if same_year else f"{_day_and_month(name)} {name[:4]}"
    month = _MONTHS[int(name[5:7]) - 1]
    return month if same_year else f"{month} {name[:4]}"


def _day_and_month(name: str) -> str:
    return f"{int(name[8:10])} {_MONTHS[int(name[5:7]) - 1]}"


def _three_digits(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _one_decimal(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
