"""A year of days as squares: weeks from left to right, the darker the more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from llmctl.core.report_data import Figures
from llmctl.formats.report import words

#: Pixels from one square to the next.
STEP = 15
_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Square:
    x: int
    y: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """Squares in a box of ``width`` by seven steps, and the names of months above them."""

    width: int
    squares: Sequence[Square]
    months: Sequence[tuple[int, str]]
    about: str


def calendar(days: Mapping[str, Figures]) -> Calendar | None:
    """Return the calendar of days with their requests and cost; None for no days."""
    if not days:
        return None
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    monday = first - timedelta(days=first.weekday())
    edges = _edges(days)
    squares = [
        _square(monday, first + timedelta(days=offset), days, edges) for offset in range((last - first).days + 1)
    ]
    weeks = (last - monday).days // 7 + 1
    busiest = max(days, key=lambda day: days[day]["requests"])
    about = f"busiest: {words.moment(busiest)} with {words.plural(days[busiest]['requests'], 'request')}"
    return Calendar(weeks * STEP, squares, _months(monday, weeks), about)


def _square(monday: date, day: date, days: Mapping[str, Figures], edges: Sequence[float]) -> Square:
    offset = (day - monday).days
    figures = days.get(day.isoformat())
    requests = figures["requests"] if figures else 0
    cost = f", {words.money(figures['cost'])}" if figures and figures["cost"] is not None else ""
    title = f"{words.moment(day.isoformat())}: {words.plural(requests, 'request')}{cost}"
    level = sum(requests >= edge for edge in edges) if requests else 0
    return Square(offset // 7 * STEP, offset % 7 * STEP, level, title)


def _edges(days: Mapping[str, Figures]) -> list[float]:
    """Return the least number of requests of each level: the days are shared out evenly."""
    counts = sorted(figures["requests"] for figures in days.values() if figures["requests"])
    return [counts[len(counts) * level // _LEVELS] for level in range(_LEVELS)] if counts else []


def _months(monday: date, weeks: int) -> list[tuple[int, str]]:
    """Return where months begin, those with room for their name."""
    found: list[tuple[int, str]] = []
    for week in range(weeks):
        begins = [day for day in (monday + timedelta(days=week * 7 + d) for d in range(7)) if day.day == 1]
        if begins and week < weeks - 1:
            found.append((week * STEP, words.moment(begins[0].isoformat()).split()[1]))
    return found
