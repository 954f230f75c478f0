"""Charts as geometry: the templates turn them into SVG. Widths are per cent, so that a plot fits any screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmctl.formats.report import axes, words
from llmctl.formats.report.axes import HEIGHT, Label, Tick

Say = Callable[[float | None], str]

#: A bar is at most so wide, in per cent of the plot.
_WIDEST = 6.0
#: Upper ends of a histogram's classes, in milliseconds.
_CLASSES = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)


class Series(NamedTuple):
    """One kind of value over all places. ``colour`` names a class of the style sheet."""

    name: str
    colour: str
    values: Sequence[float | None]

    @property
    def sum(self) -> float:
        return sum(value or 0 for value in self.values)


@dataclass(frozen=True, slots=True)
class Part:
    colour: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A place of the axis: what is drawn in it, and all of it in words."""

    x: float
    width: float
    left: float
    room: float
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Line:
    """A line as SVG points in a box of 1000 by :data:`HEIGHT`, and its dots."""

    colour: str
    points: Sequence[str]
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot with its axis, its legend, and the table behind it."""

    title: str
    about: str
    ticks: Sequence[Tick]
    labels: Sequence[Label]
    columns: Sequence[Column]
    lines: Sequence[Line]
    legend: Sequence[tuple[str, str, str]]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    height: int = HEIGHT


def stacked(title: str, about: str, names: Sequence[str], series: Sequence[Series], say: Say, whole: bool) -> Chart:
    """Return bars over time, each series on top of the one before it."""
    sums = [sum(one.values[index] or 0 for one in series) for index in range(len(names))]
    scale = axes.scale(max(sums, default=0), whole=whole)
    columns = [
        _column(index, len(names), _said(name, series, index, say, sums[index]), _stack(series, index, scale))
        for index, name in enumerate(names)
    ]
    legend = [(one.name, one.colour, say(one.sum)) for one in series]
    rows = [
        [words.moment(name), *(say(one.values[index]) for one in series), say(sums[index])]
        for index, name in enumerate(names)
    ]
    header = ["", *(one.name for one in series), "all"]
    return Chart(title, about, scale.ticks(say), axes.labels(names), columns, [], legend, header, rows)


def lines(title: str, about: str, names: Sequence[str], series: Sequence[Series], say: Say) -> Chart:
    """Return lines over time; where a value is unknown a line breaks."""
    scale = axes.scale(max((value or 0 for one in series for value in one.values), default=0))
    columns = [
        _column(index, len(names), _said(name, series, index, say, None), []) for index, name in enumerate(names)
    ]
    legend = [(one.name, one.colour, "") for one in series]
    rows = [[words.moment(name), *(say(one.values[index]) for one in series)] for index, name in enumerate(names)]
    header = ["", *(one.name for one in series)]
    drawn = [_line(one, scale) for one in series]
    return Chart(title, about, scale.ticks(say), axes.labels(names), columns, drawn, legend, header, rows)


def histogram(title: str, about: str, counts: Mapping[int, int], colour: str) -> Chart:
    """Return how many requests took how long, in classes that grow."""
    bins = [0] * (len(_CLASSES) + 1)
    for ms, count in counts.items():
        bins[sum(ms > end for end in _CLASSES)] += count
    names = [f"≤ {words.duration(end)}" for end in _CLASSES] + [f"> {words.duration(_CLASSES[-1])}"]
    scale, whole = axes.scale(max(bins), whole=True), sum(bins)
    columns = [
        _column(
            index,
            len(bins),
            f"{name}\n{words.plural(count, 'request')}, {words.share(count, whole)}",
            _stack([Series("", colour, bins)], index, scale),
            widest=100,
        )
        for index, (name, count) in enumerate(zip(names, bins, strict=True))
    ]
    labels = [
        Label(axes.place(index, len(bins)), name.removeprefix("≤ "), bool(index % 3))
        for index, name in enumerate(names)
    ]
    rows = [[n, words.number(count), words.share(count, whole)] for n, count in zip(names, bins, strict=True)]
    return Chart(title, about, scale.ticks(words.compact), labels, columns, [], [], ["took", "requests", "share"], rows)


def _column(index: int, count: int, title: str, parts: Sequence[Part], widest: float = _WIDEST) -> Column:
    room = 100 / count
    width = min(room * (0.72 if count > 31 else 0.62), widest)
    middle = axes.place(index, count)
    return Column(round(middle - width / 2, 3), round(width, 3), round(index * room, 3), round(room, 3), title, parts)


def _stack(series: Sequence[Series], index: int, scale: axes.Scale) -> list[Part]:
    parts: list[Part] = []
    top = float(HEIGHT)
    for one in series:
        if value := one.values[index]:
            height = scale.height(value)
            top = round(top - height, 2)
            parts.append(Part(one.colour, top, height))
    return parts


def _line(one: Series, scale: axes.Scale) -> Line:
    count = len(one.values)
    runs: list[list[str]] = [[]]
    dots: list[tuple[float, float]] = []
    for index, value in enumerate(one.values):
        if value is None:
            runs.append([])
            continue
        x, y = axes.place(index, count), scale.y(value)
        runs[-1].append(f"{x * 10:.2f},{y}")
        dots.append((x, y))
    return Line(one.colour, [" ".join(run) for run in runs if len(run) > 1], dots if count <= 92 else [])


def _said(name: str, series: Sequence[Series], index: int, say: Say, whole: float | None) -> str:
    values = [f"{one.name}: {say(one.values[index])}" for one in series if one.values[index]]
    lead = words.moment(name) + (f": {say(whole)}" if whole is not None else "")
    return "\n".join([lead, *(values if len(values) > 1 or whole is None else [])])
