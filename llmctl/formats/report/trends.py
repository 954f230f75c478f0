"""The charts of a report: what is drawn over time, and how long requests take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from llmctl.core.report_data import Dashboard, Figures, Group
from llmctl.formats.report import charts, words
from llmctl.formats.report.charts import Chart, Series

#: Models with a colour of their own; the others share one.
_COLOURED = 6
_OTHERS = "others"


class Trend(NamedTuple):
    """A chart behind a tab."""

    id: str
    label: str
    chart: Chart


def colours(models: Sequence[Group]) -> dict[str, str]:
    """Return the colour of each model that has one, the dearest first."""
    named = [group.name or "" for group in models]
    own = _COLOURED if len(named) > _COLOURED + 1 else len(named)
    return {name: f"c{index}" for index, name in enumerate(named[:own])}


def over_time(dashboard: Dashboard, colours: Mapping[str, str]) -> list[Trend]:
    """Return cost by model, tokens by kind, requests by outcome."""
    names = _names(dashboard)
    step = dashboard.range.unit
    found = [
        Trend("tokens", "Tokens", charts.stacked("Tokens", f"by kind, a bar for each {step}", names,
              _kinds(dashboard), words.compact, True)),
        Trend("requests", "Requests", charts.stacked("Requests", f"by model, a bar for each {step}", names,
              _of_models(dashboard, colours, lambda f: f["requests"]), words.number, True)),
    ]  # fmt: skip
    if dashboard.total["cost"]:
        series = _of_models(dashboard, colours, lambda f: f["cost"] or 0)
        chart = charts.stacked("Cost", f"US dollars by model, a bar for each {step}", names, series, words.money, False)
        found.insert(0, Trend("cost", "Cost", chart))
    return found


def latency(dashboard: Dashboard) -> list[Chart]:
    """Return percentiles over time, and how requests are spread over durations."""
    if not dashboard.durations:
        return []
    names = _names(dashboard)
    found = [
        charts.lines("Duration", "of whole requests", names, _percentiles(dashboard, "duration"), words.duration),
        charts.histogram("How long requests take", "number of requests", dashboard.durations, "c0"),
    ]
    if dashboard.first_tokens:
        series = _percentiles(dashboard, "time_to_first_token")
        found.insert(1, charts.lines("Time to first token", "of requests that stream", names, series, words.duration))
        about = "number of requests by time to first token"
        found.append(charts.histogram("How long first tokens take", about, dashboard.first_tokens, "c1"))
    return found


def failures(dashboard: Dashboard) -> Chart | None:
    """Return failed requests and retries over time; None where all went well at once."""
    if not dashboard.total["failed_requests"] and not dashboard.total["retries"]:
        return None
    figures = [group.figures for group in dashboard.moments]
    series = [
        Series("failed requests", "bad", [f["failed_requests"] for f in figures]),
        Series("retried attempts", "warn", [f["retries"] for f in figures]),
    ]
    return charts.stacked("Failures", "failed requests and retries", _names(dashboard), series, words.number, True)


def _names(dashboard: Dashboard) -> list[str]:
    return [group.name or "" for group in dashboard.moments]


def _of_models(dashboard: Dashboard, colours: Mapping[str, str], value: Callable[[Figures], float]) -> list[Series]:
    found: list[Series] = []
    for name, colour in colours.items():
        found.append(Series(name, colour, [_value(dashboard, at, name, value) for at in _names(dashboard)]))
    others = [group.name or "" for group in dashboard.models if (group.name or "") not in colours]
    if others:
        values = [sum(_value(dashboard, at, name, value) for name in others) for at in _names(dashboard)]
        found.append(Series(f"{len(others)} {_OTHERS}", "rest", values))
    return [one for one in found if one.sum]


def _value(dashboard: Dashboard, at: str, model: str, value: Callable[[Figures], float]) -> float:
    figures = dashboard.by_model.get((at, model))
    return value(figures) if figures else 0


def _kinds(dashboard: Dashboard) -> list[Series]:
    figures = [group.figures for group in dashboard.moments]
    found = [
        Series("input", "c0", [max(0, f["input_tokens"] - f["cached_tokens"]) for f in figures]),
        Series("cached input", "c1", [f["cached_tokens"] for f in figures]),
        Series("output", "c2", [max(0, f["output_tokens"] - f["thinking_tokens"]) for f in figures]),
        Series("thinking", "c3", [f["thinking_tokens"] for f in figures]),
    ]
    return [one for one in found if one.sum]


def _percentiles(dashboard: Dashboard, of: str) -> list[Series]:
    figures = [group.figures for group in dashboard.moments]
    return [
        Series("p95", "c2", [f[f"p95_{of}_ms"] for f in figures]),
        Series("p50, the median", "c0", [f[f"p50_{of}_ms"] for f in figures]),
    ]
