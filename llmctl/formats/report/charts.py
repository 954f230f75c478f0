"""Charts of the report as geometry, which the templates turn into SVG. Widths are percentages to fit any screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, floor, log10

from llmctl.core.humanize import (
    format_bucket,
    format_compact,
    format_count,
    format_dollars,
    format_duration,
    format_percent,
    format_tick,
    pluralize,
)
from llmctl.core.report_data import Figures, ReportData, UsageGroup
from llmctl.core.values import Value

ValueFormat = Callable[[float | None], str]
#: Height of a plot in pixels, without its labels.
PLOT_HEIGHT = 220
#: Distance between squares of the calendar, in pixels.
SQUARE_STEP = 15
#: Height of the smallest bar, in pixels.
_MIN_BAR_PX = 1.5
#: Maximum width of a bar, in percent of the plot.
_MAX_BAR_PERCENT = 6.0
_TICK_FACTORS = (1, 2, 2.5, 5, 10)
#: How many labels fit below a wide and a narrow plot.
_WIDE, _NARROW = 12, 4
#: Upper bounds of the histogram bins, in milliseconds.
_HISTOGRAM_EDGES_MS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)
_LEVELS = 4
#: This many models get their own color; the others share one.
_COLORED_MODELS = 6
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A horizontal grid line; ``y`` is in pixels from the top."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """A label below the plot; ``x`` is in percent of its width. Minor ones are shown on wide plots only."""

    x: float
    text: str
    is_minor: bool
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from 0 to ``top`` to pixels from the top."""

    top: float
    step: float

    def y(self, value: float) -> float:
        return round(PLOT_HEIGHT * (1 - value / self.top), 2)

    def height(self, value: float) -> float:
        """Return the height of a bar; small values stay visible."""
        return max(_MIN_BAR_PX, round(PLOT_HEIGHT * value / self.top, 2))

    def ticks(self, format_value: Callable[[float], str]) -> list[AxisTick]:
        values = [self.step * index for index in range(round(self.top / self.step) + 1)]
        return [AxisTick(self.y(value), _trim_zeros(format_value(value)) if value else "0") for value in values]


class Series(Value):
    """The values of one kind, one per slot of the axis. ``color`` names a class of the style sheet."""

    name: str
    color: str
    values: Sequence[float | None]

    @property
    def sum(self) -> float:
        return sum(value or 0 for value in self.values)


@dataclass(frozen=True, slots=True)
class BarSegment:
    color: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What is chart_lines in one slot of the axis, and its tooltip. Positions are percentages."""

    x: float
    width: float
    left: float
    room: float
    title: str
    parts: Sequence[BarSegment]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line as SVG points in a box of 1000 by :data:`PLOT_HEIGHT`, and its dots."""

    color: str
    points: Sequence[str]
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot with its axes, legend and data table."""

    title: str
    about: str
    ticks: Sequence[AxisTick]
    labels: Sequence[AxisLabel]
    columns: Sequence[Bar]
    lines: Sequence[ChartLine]
    legend: Sequence[tuple[str, str, str]]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    height: int = PLOT_HEIGHT


@dataclass(frozen=True, slots=True)
class Square:
    x: int
    y: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """A year of days as squares: weeks as columns, darker for more requests. ``months`` are (x, name)."""

    width: int
    squares: Sequence[Square]
    months: Sequence[tuple[int, str]]
    about: str


class Trend(Value):
    """A chart and its tab."""

    id: str
    label: str
    chart: Chart


def assign_colors(models: Sequence[UsageGroup]) -> dict[str, str]:
    """Return a color for each of the most expensive models."""
    model_names = [group.name or "" for group in models]
    count = _COLORED_MODELS if len(model_names) > _COLORED_MODELS + 1 else len(model_names)
    return {name: f"c{index}" for index, name in enumerate(model_names[:count])}


def trend_charts(report: ReportData, colors: Mapping[str, str]) -> list[Trend]:
    """Return the charts of cost by model, tokens by kind, and requests by model."""
    names = _bucket_names(report)
    step = report.range.unit
    found = [
        Trend("tokens", "Tokens", stacked_chart("Tokens", f"by kind, a bar for each {step}", names,
              _token_series(report), format_compact, True)),
        Trend("requests", "Requests", stacked_chart("Requests", f"by model, a bar for each {step}", names,
              _series_by_model(report, colors, lambda f: f["requests"]), format_count, True)),
    ]  # fmt: skip
    if report.total["cost"]:
        series = _series_by_model(report, colors, lambda f: f["cost"] or 0)
        chart = stacked_chart(
            "Cost", f"US dollars by model, a bar for each {step}", names, series, format_dollars, False
        )
        found.insert(0, Trend("cost", "Cost", chart))
    return found


def latency_charts(report: ReportData) -> list[Chart]:
    """Return latency percentiles over time, and the distributions of latency."""
    if not report.durations:
        return []
    names = _bucket_names(report)
    found = [
        line_chart("Duration", "of whole requests", names, _percentile_series(report, "duration"), format_duration),
        histogram_chart("How long requests take", "number of requests", report.durations, "c0"),
    ]
    if report.first_tokens:
        series = _percentile_series(report, "time_to_first_token")
        found.insert(
            1,
            line_chart("Time to first token", "of requests that stream", names, series, format_duration),
        )
        about = "number of requests by time to first token"
        found.append(histogram_chart("How long first tokens take", about, report.first_tokens, "c1"))
    return found


def failure_chart(report: ReportData) -> Chart | None:
    """Return failed requests and retries over time; None if there were none."""
    if not report.total["failed_requests"] and not report.total["retries"]:
        return None
    figures = [group.figures for group in report.time_series]
    series = [
        Series("failed requests", "bad", [f["failed_requests"] for f in figures]),
        Series("retried attempts", "warn", [f["retries"] for f in figures]),
    ]
    return stacked_chart("Failures", "failed requests and retries", _bucket_names(report), series, format_count, True)


def build_calendar(days: Mapping[str, Figures]) -> Calendar | None:
    """Return the calendar of daily requests and cost; None without days."""
    if not days:
        return None
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    monday = first - timedelta(days=first.weekday())
    edges = _level_edges(days)
    squares = [
        _build_square(monday, first + timedelta(days=offset), days, edges) for offset in range((last - first).days + 1)
    ]
    weeks = (last - monday).days // 7 + 1
    busiest = max(days, key=lambda day: days[day]["requests"])
    about = f"busiest: {format_bucket(busiest)} with {pluralize(days[busiest]['requests'], 'request')}"
    return Calendar(weeks * SQUARE_STEP, squares, _month_labels(monday, weeks), about)


def stacked_chart(
    title: str, about: str, names: Sequence[str], series: Sequence[Series], format_value: ValueFormat, whole: bool
) -> Chart:
    """Return bars over time, the series stacked in order."""
    sums = [sum(one.values[index] or 0 for one in series) for index in range(len(names))]
    scale = build_scale(max(sums, default=0), whole=whole)
    columns = [
        _build_bar(
            index,
            len(names),
            _bar_tooltip(name, series, index, format_value, sums[index]),
            _stack_segments(series, index, scale),
        )
        for index, name in enumerate(names)
    ]
    legend = [(one.name, one.color, format_value(one.sum)) for one in series]
    rows = [
        [format_bucket(name), *(format_value(one.values[index]) for one in series), format_value(sums[index])]
        for index, name in enumerate(names)
    ]
    header = ["", *(one.name for one in series), "all"]
    return Chart(title, about, scale.ticks(format_value), build_labels(names), columns, [], legend, header, rows)


def line_chart(
    title: str, about: str, names: Sequence[str], series: Sequence[Series], format_value: ValueFormat
) -> Chart:
    """Return lines over time; a missing value breaks the line."""
    scale = build_scale(max((value or 0 for one in series for value in one.values), default=0))
    columns = [
        _build_bar(index, len(names), _bar_tooltip(name, series, index, format_value, None), [])
        for index, name in enumerate(names)
    ]
    legend = [(one.name, one.color, "") for one in series]
    rows = [
        [format_bucket(name), *(format_value(one.values[index]) for one in series)] for index, name in enumerate(names)
    ]
    header = ["", *(one.name for one in series)]
    chart_lines = [_build_line(one, scale) for one in series]
    return Chart(
        title, about, scale.ticks(format_value), build_labels(names), columns, chart_lines, legend, header, rows
    )


def histogram_chart(title: str, about: str, counts: Mapping[int, int], color: str) -> Chart:
    """Return the distribution of requests over growing duration bins."""
    bins = [0] * (len(_HISTOGRAM_EDGES_MS) + 1)
    for ms, count in counts.items():
        bins[sum(ms > end for end in _HISTOGRAM_EDGES_MS)] += count
    names = [f"≤ {format_duration(end)}" for end in _HISTOGRAM_EDGES_MS] + [
        f"> {format_duration(_HISTOGRAM_EDGES_MS[-1])}"
    ]
    scale, whole = build_scale(max(bins), whole=True), sum(bins)
    columns = [
        _build_bar(
            index,
            len(bins),
            f"{name}\n{pluralize(count, 'request')}, {format_percent(count, whole)}",
            _stack_segments([Series("", color, bins)], index, scale),
            max_percent=100,
        )
        for index, (name, count) in enumerate(zip(names, bins, strict=True))
    ]
    labels = [
        AxisLabel(slot_center(index, len(bins)), name.removeprefix("≤ "), bool(index % 3))
        for index, name in enumerate(names)
    ]
    rows = [[n, format_count(count), format_percent(count, whole)] for n, count in zip(names, bins, strict=True)]
    return Chart(
        title, about, scale.ticks(format_compact), labels, columns, [], [], ["took", "requests", "share"], rows
    )


def build_scale(maximum: float, *, whole: bool = False) -> Scale:
    """Return a scale from 0 to just above the maximum, with about four round steps."""
    if maximum <= 0:
        return Scale(1, 1)
    raw = maximum / 4
    power: float = 10 ** floor(log10(raw))
    step = next(power * factor for factor in _TICK_FACTORS if power * factor >= raw * 0.999)
    if whole:
        step = max(1, ceil(step))
    return Scale(step * ceil(maximum / step * 0.999), step)


def build_labels(names: Sequence[str]) -> list[AxisLabel]:
    """Return the labels of time buckets, centred below their slots."""
    count = len(names)
    step = max(1, ceil(count / _WIDE))
    rare = step * max(1, ceil(count / step / _NARROW))
    labels: list[AxisLabel] = []
    previous: str | None = None
    for index in range(0, count, step):
        name = names[index]
        labels.append(AxisLabel(slot_center(index, count), format_tick(name, previous), bool(index % rare)))
        previous = name
    return labels


def slot_center(index: int, count: int) -> float:
    """Return the centre of one of ``count`` equal slots, in percent."""
    return round(100 * (index + 0.5) / count, 3)


def _build_bar(
    index: int, count: int, title: str, parts: Sequence[BarSegment], max_percent: float = _MAX_BAR_PERCENT
) -> Bar:
    room = 100 / count
    width = min(room * (0.72 if count > 31 else 0.62), max_percent)
    middle = slot_center(index, count)
    return Bar(round(middle - width / 2, 3), round(width, 3), round(index * room, 3), round(room, 3), title, parts)


def _stack_segments(series: Sequence[Series], index: int, scale: Scale) -> list[BarSegment]:
    parts: list[BarSegment] = []
    top = float(PLOT_HEIGHT)
    for one in series:
        if value := one.values[index]:
            height = scale.height(value)
            top = round(top - height, 2)
            parts.append(BarSegment(one.color, top, height))
    return parts


def _build_line(one: Series, scale: Scale) -> ChartLine:
    count = len(one.values)
    runs: list[list[str]] = [[]]
    dots: list[tuple[float, float]] = []
    for index, value in enumerate(one.values):
        if value is None:
            runs.append([])
            continue
        x, y = slot_center(index, count), scale.y(value)
        runs[-1].append(f"{x * 10:.2f},{y}")
        dots.append((x, y))
    return ChartLine(one.color, [" ".join(run) for run in runs if len(run) > 1], dots if count <= 92 else [])


def _bar_tooltip(
    name: str, series: Sequence[Series], index: int, format_value: ValueFormat, whole: float | None
) -> str:
    values = [f"{one.name}: {format_value(one.values[index])}" for one in series if one.values[index]]
    lead = format_bucket(name) + (f": {format_value(whole)}" if whole is not None else "")
    return "\n".join([lead, *(values if len(values) > 1 or whole is None else [])])


def _trim_zeros(text: str) -> str:
    """Return an axis value without trailing zeros: ``$300.00`` becomes ``$300``."""
    return re.sub(r"(\.\d*?)0+(?=\D|$)", lambda found: found[1].rstrip("."), text)


def _build_square(monday: date, day: date, days: Mapping[str, Figures], edges: Sequence[float]) -> Square:
    offset = (day - monday).days
    figures = days.get(day.isoformat())
    requests = figures["requests"] if figures else 0
    cost = f", {format_dollars(figures['cost'])}" if figures and figures["cost"] is not None else ""
    title = f"{format_bucket(day.isoformat())}: {pluralize(requests, 'request')}{cost}"
    level = sum(requests >= edge for edge in edges) if requests else 0
    return Square(offset // 7 * SQUARE_STEP, offset % 7 * SQUARE_STEP, level, title)


def _level_edges(days: Mapping[str, Figures]) -> list[float]:
    """Return the minimum number of requests of each level, so that days are distributed evenly."""
    counts = sorted(figures["requests"] for figures in days.values() if figures["requests"])
    return [counts[len(counts) * level // _LEVELS] for level in range(_LEVELS)] if counts else []


def _month_labels(monday: date, weeks: int) -> list[tuple[int, str]]:
    """Return x and name of each month that has room for its name."""
    found: list[tuple[int, str]] = []
    for week in range(weeks):
        begins = [day for day in (monday + timedelta(days=week * 7 + d) for d in range(7)) if day.day == 1]
        if begins and week < weeks - 1:
            found.append((week * SQUARE_STEP, format_bucket(begins[0].isoformat()).split()[1]))
    return found


def _bucket_names(report: ReportData) -> list[str]:
    return [group.name or "" for group in report.time_series]


def _series_by_model(report: ReportData, colors: Mapping[str, str], value: Callable[[Figures], float]) -> list[Series]:
    found: list[Series] = []
    for name, color in colors.items():
        found.append(Series(name, color, [_model_value(report, at, name, value) for at in _bucket_names(report)]))
    others = [group.name or "" for group in report.models if (group.name or "") not in colors]
    if others:
        values = [sum(_model_value(report, at, name, value) for name in others) for at in _bucket_names(report)]
        found.append(Series(f"{len(others)} {_OTHERS}", "rest", values))
    return [one for one in found if one.sum]


def _model_value(report: ReportData, at: str, model: str, value: Callable[[Figures], float]) -> float:
    figures = report.by_model.get((at, model))
    return value(figures) if figures else 0


def _token_series(report: ReportData) -> list[Series]:
    figures = [group.figures for group in report.time_series]
    found = [
        Series("input", "c0", [max(0, f["input_tokens"] - f["cached_tokens"]) for f in figures]),
        Series("cached input", "c1", [f["cached_tokens"] for f in figures]),
        Series("output", "c2", [max(0, f["output_tokens"] - f["thinking_tokens"]) for f in figures]),
        Series("thinking", "c3", [f["thinking_tokens"] for f in figures]),
    ]
    return [one for one in found if one.sum]


def _percentile_series(report: ReportData, of: str) -> list[Series]:
    figures = [group.figures for group in report.time_series]
    return [
        Series("p95", "c2", [f[f"p95_{of}_ms"] for f in figures]),
        Series("p50, the median", "c0", [f[f"p50_{of}_ms"] for f in figures]),
    ]
