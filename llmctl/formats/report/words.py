"""Numbers and times as the report says them."""

from __future__ import annotations

from datetime import UTC, tzinfo

from llmctl.core import clock

NOTHING = "–"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STEPS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def money(dollars: float | None) -> str:
    """Return dollars: two digits where they are many, enough to be no zero where they are few."""
    if dollars is None:
        return NOTHING
    size = abs(dollars)
    digits = 0 if size >= 10_000 or not size else 2 if size >= 1 else 3 if size >= 0.1 else 4 if size >= 0.001 else 6
    sign = "−" if dollars < 0 else ""
    return f"{sign}${size:,.{digits}f}" if size == 0 or size >= 1e-6 else f"{sign}<$0.000001"


def number(count: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return NOTHING if count is None else f"{count:,.0f}"


def compact(count: float | None) -> str:
    """Return a number of three digits: ``1.24M``."""
    if count is None:
        return NOTHING
    for step, letter in _STEPS:
        if abs(count) >= step * 0.9995:
            value = count / step
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}{letter}"
    return f"{count:.0f}"


def duration(ms: float | None) -> str:
    """Return milliseconds in the unit people think in."""
    if ms is None:
        return NOTHING
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 or seconds % 1 else f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def share(part: float | None, whole: float | None) -> str:
    """Return a part in per cent of the whole."""
    if not whole or part is None:
        return NOTHING
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent == 0 or percent >= 10 else "<0.1 %" if percent < 0.05 else f"{percent:.1f} %"


def change(now: float | None, before: float | None) -> str | None:
    """Return by how much something grew or shrank: ``+12 %``; None where that says nothing."""
    if not before or now is None:
        return None
    percent = round(100 * (now - before) / before)
    if abs(percent) > 999:
        return None
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent)} %"


def when(stored: str | None, zone: tzinfo | None) -> str:
    """Return a stored time by the clocks of a zone, to the minute."""
    return clock.parsed(stored).astimezone(zone or UTC).strftime("%Y-%m-%d %H:%M") if stored else NOTHING


def day(stored: str | None, zone: tzinfo | None) -> str | None:
    """Return the day of a stored time as forms want it."""
    return when(stored, zone)[:10] if stored else None


def date(stored: str, zone: tzinfo | None) -> str:
    """Return the day of a stored time: ``5 Oct 2026``."""
    at = clock.parsed(stored).astimezone(zone or UTC)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


def moment(name: str) -> str:
    """Return the name of an hour, a day or a month in words, in full."""
    if len(name) > 10:
        return f"{moment(name[:10])}, {name[11:16]}"
    year, month, *day = name.split("-")
    return " ".join([*(str(int(d)) for d in day), _MONTHS[int(month) - 1], year])


def tick(name: str, before: str | None) -> str:
    """Return the same for an axis: no more than differs from the one before."""
    if len(name) > 10:
        return name[11:16] if before and before[:10] == name[:10] else f"{_day(name)} {name[11:16]}"
    if len(name) == 10:
        return _day(name) if before and before[:4] == name[:4] else f"{_day(name)} {name[:4]}"
    month = _MONTHS[int(name[5:7]) - 1]
    return month if before and before[:4] == name[:4] else f"{month} {name[:4]}"


def plural(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _day(name: str) -> str:
    return f"{int(name[8:10])} {_MONTHS[int(name[5:7]) - 1]}"
