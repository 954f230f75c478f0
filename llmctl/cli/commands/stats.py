"""``llmctl stats``: usage, cost and latency."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal, cast

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.time_range import PeriodOption, TimeZoneOption, UntilOption, parse_time_range
from llmctl.cli.console import terminal
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_json, emit_list, emit_record
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.core.humanize import (
    NO_VALUE,
    format_age,
    format_bucket,
    format_count,
    format_dollars,
    format_duration,
    format_time,
    pluralize,
)
from llmctl.store.database import Row
from llmctl.store.records import chats
from llmctl.store.stats import group_by as stats_group_by
from llmctl.store.stats import query
from llmctl.store.stats.group_by import Scope
from llmctl.store.stats.query import resolve_scope

_COLUMNS = [
    OutputColumn("requests", "number"),
    OutputColumn("failed_requests", "number", header="failed"),
    OutputColumn("messages", "number"),
    OutputColumn("tool_calls", "number", is_default=False),
    OutputColumn("input_tokens", "number", header="in"),
    OutputColumn("output_tokens", "number", header="out"),
    OutputColumn("total_tokens", "number", is_default=False),
    OutputColumn("cached_tokens", "number", header="cached"),
    OutputColumn("cache_write_tokens", "number", is_default=False),
    OutputColumn("thinking_tokens", "number", is_default=False),
    OutputColumn("cost", "cost"),
    OutputColumn("unpriced_requests", "number", header="unpriced"),
    OutputColumn("duration_ms", "duration", is_default=False),
    OutputColumn("avg_duration_ms", "duration", is_default=False),
    OutputColumn("p50_duration_ms", "duration", header="p50"),
    OutputColumn("p95_duration_ms", "duration", header="p95"),
    OutputColumn("p50_time_to_first_token_ms", "duration", header="first token"),
    OutputColumn("p95_time_to_first_token_ms", "duration", is_default=False),
    OutputColumn("retries", "number", is_default=False),
    OutputColumn("failed_tool_calls", "number", is_default=False),
    OutputColumn("tool_duration_ms", "duration", is_default=False),
    OutputColumn("cache_savings", "cost", is_default=False),
    OutputColumn("first_at", "time", is_default=False),
    OutputColumn("last_at", "time", header="last"),
    OutputColumn("chat_id", "id", is_default=False),
    OutputColumn("cached_requests", "number", is_default=False, is_optional=True),
    OutputColumn("saved_cost", "cost", is_default=False, is_optional=True),
]
Measure = Literal["tokens", "cost", "requests"]
#: What ``--plot`` draws, and its column.
_MEASURES: Mapping[str, str] = {"tokens": "total_tokens", "cost": "cost", "requests": "requests"}
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MIN_BAR_WIDTH = 8


GroupByOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY[,KEY]",
        help="hour, day, month, provider, model, connection, chat, agent, tool, tag, status, script, folder, "
        "project, app, host, or a custom field.",
    ),
]
PlotOption = Annotated[
    str | None,
    typer.Option("--plot", metavar="[=WHAT]", help="Draw bars of tokens, cost or requests; by day or --group-by."),
]


@list_output
def stats(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    agent: Annotated[str | None, typer.Option(metavar="REF", help="Only this agent.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Only this connection.")] = None,
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    group_by: GroupByOption = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only requests with this tag.")] = None,
    folder: Annotated[str | None, typer.Option(metavar="PATH", help="Only from this folder and those in it.")] = None,
    tz: TimeZoneOption = None,
    plot: PlotOption = None,
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Show tokens, cost, latency and errors, for one chat or in total.

    Percentiles of one chat are exact, others within 5%. Days are UTC, unless --tz. A cost is empty where no price is
    known. Deleted chats stay counted. A project is the git repository that has the folder of a request. On a terminal,
    what is zero everywhere is left out.

    Examples:
      llmctl stats --json
      llmctl stats --in month --group-by project
      llmctl stats --since 7d --plot cost
      llmctl stats --chat last
    """
    app: App = ctx.obj
    zone = time_ranges.parse_time_zone(tz) if tz else None
    times = parse_time_range(since, until, period, zone or UTC)
    measure = _parse_measure(plot, words or ())
    keys = _parse_keys(group_by, measure is not None)
    database = app.hub()
    scope = resolve_scope(
        database,
        listing_args.find_chat_id(app, chat),
        agent,
        connection,
        *times,
        tag=tag,
        folder=os.path.abspath(folder) if folder else None,
    )
    if not keys:
        _write_total(app, scope, query.get_total(database, scope), zone)
        return
    rows, total = query.group_totals(database, scope, stats_group_by.build_grouping(database, keys, zone))
    _write_groups(app, scope, keys, rows, total, measure=measure, zone=zone)


def _parse_measure(plot: str | None, words: Sequence[str]) -> Measure | None:
    """Return what ``--plot``, ``--plot=cost`` or ``--plot cost`` draws; a word without it is likely a chat."""
    if plot is None or (plot and words) or len(words) > 1:
        if words:
            raise UsageError(f'unexpected argument "{words[0]}"', hint=f"for one chat: llmctl stats --chat {words[0]}")
        if plot is None:
            return None
    word = plot or (words[0] if words else "tokens")
    if word not in _MEASURES:
        raise UsageError(f'--plot must be tokens, cost or requests, got "{word}"')
    return cast(Measure, word)


def _parse_keys(group_by: str | None, plot: bool) -> list[str]:
    if group_by is None:
        return ["day"] if plot else []
    keys = [key.strip() for key in group_by.split(",")]
    if not all(keys):
        raise UsageError(f'--group-by must be a list of keys, got "{group_by}"')
    return keys


def _write_total(app: App, scope: Scope, total: Row, zone: tzinfo | None) -> None:
    if app.console.shows_table and not app.console.format.columns:
        card = {"range": _describe_range(scope, total, zone), **_summarize(total, zone)}
        emit_record(app.console, card, [OutputColumn(name) for name, text in card.items() if text])
    elif app.console.format.kind == "auto":
        columns = [
            column.replace(header=column.name.removesuffix("_ms").replace("_", " "), is_default=True)  # no unit twice
            for column in _COLUMNS
            if column.name != "chat_id" and (not column.is_optional or app.console.format.columns)
        ]
        emit_record(app.console, {"range": _name_range(scope, total)} | total, [OutputColumn("range"), *columns])
    elif app.console.format.is_json:
        emit_record(app.console, total, _COLUMNS)
    else:
        emit_list(app.console, [total], _COLUMNS)


def _add_notes(head: str, *parts: tuple[float | None, str]) -> str:
    """Return a figure with notes in parentheses: those whose value is neither zero nor unknown."""
    notes = ", ".join(text for value, text in parts if value)
    return f"{head} ({notes})" if notes else head


def _summarize(total: Row, zone: tzinfo | None) -> dict[str, str]:
    """Return the totals as people read them, by title; empty is nothing to say."""
    count = format_count
    return {
        "requests": _add_notes(
            count(total["requests"]),
            (total["failed_requests"], f"{count(total['failed_requests'])} failed"),
            (total["retries"], pluralize(total["retries"], "retry", "retries")),
        ),
        "messages": count(total["messages"]) if total["messages"] else "",
        "tool calls": _add_notes(
            count(total["tool_calls"]),
            (total["failed_tool_calls"], f"{count(total['failed_tool_calls'])} failed"),
            (total["tool_duration_ms"], format_duration(total["tool_duration_ms"])),
        )
        if total["tool_calls"]
        else "",
        "tokens in": _add_notes(
            count(total["input_tokens"]),
            (total["cached_tokens"], f"{count(total['cached_tokens'])} cached"),
            (total["cache_write_tokens"], f"{count(total['cache_write_tokens'])} written to the cache"),
        ),
        "tokens out": _add_notes(
            count(total["output_tokens"]), (total["thinking_tokens"], f"{count(total['thinking_tokens'])} thinking")
        ),
        "cost": _add_notes(
            format_dollars(total["cost"]),
            (total["unpriced_requests"], f"{pluralize(total['unpriced_requests'], 'request')} without a price"),
            (total["cache_savings"], f"the provider's cache saved {format_dollars(total['cache_savings'])}"),
            (
                total["cached_requests"],
                f"{pluralize(total['cached_requests'], 'stored answer')} saved {format_dollars(total['saved_cost'])}",
            ),
        ),
        **_summarize_times(total, zone),
    }


def _summarize_times(total: Row, zone: tzinfo | None) -> dict[str, str]:
    return {
        "duration": _add_notes(
            format_duration(total["p50_duration_ms"]),
            (total["requests"] > 1, f"95%: {format_duration(total['p95_duration_ms'])}"),
            (total["requests"] > 1, f"sum: {format_duration(total['duration_ms'])}"),
        )
        if total["p50_duration_ms"] is not None
        else "",
        "first token": format_duration(total["p50_time_to_first_token_ms"])
        if total["p50_time_to_first_token_ms"] is not None
        else "",
        "last": f"{format_time(total['last_at'], zone)} ({format_age(total['last_at'])})" if total["last_at"] else "",
    }


def _write_groups(
    app: App,
    scope: Scope,
    keys: Sequence[str],
    rows: list[Row],
    total: Row,
    *,
    measure: Measure | None,
    zone: tzinfo | None,
) -> None:
    columns = [*(OutputColumn(key) for key in keys), *_COLUMNS]
    console, is_table = app.console, app.console.shows_table
    if console.format.kind == "json":
        _write_json(app, rows, total, columns)
        return
    if is_table:
        rows = [row | {key: _name_group(app, key, row) for key in keys} for row in rows]
        console.io.write(f"{listing_args.sanitize(console, _describe_range(scope, total, zone))}\n")
    elif console.format.kind == "auto" and measure:
        console.io.write(f"{_name_range(scope, total)}\n")
    extent = Extent("no requests match")
    if console.format.kind == "auto" and measure and rows:
        console.io.write(listing_args.sanitize(console, _render_bars(app, rows, keys, measure)))
    elif is_table:
        whole = [total | {key: "total" if key == keys[0] else "" for key in keys}] if len(rows) > 1 else []
        shown = columns if console.format.columns else _arrange_table(columns, rows, (*keys, "requests", "cost"))
        emit_list(console, [*rows, *whole], shown, extent)
    else:
        emit_list(console, rows, columns, extent)


def _arrange_table(columns: Sequence[OutputColumn], rows: Sequence[Row], first: Sequence[str]) -> list[OutputColumn]:
    """Return the columns without those that are zero or unknown in every row, some first: what must have room."""
    kept = [column for column in columns if column.name == "requests" or any(row.get(column.name) for row in rows)]
    return sorted(kept, key=lambda column: first.index(column.name) if column.name in first else len(first))


def _name_group(app: App, key: str, row: Row) -> str:
    """Return the value of a group key as people read it."""
    value = row[key]
    if value is None:
        return NO_VALUE
    if key == "hour":
        return format_bucket(value)
    if key == "chat" and value == row["chat_id"]:
        chat = chats.find_by_id(app.hub(), value)
        return chats.get_title(app.hub(), chat) if chat else f"{value[:8]} (deleted)"
    if key in ("folder", "project") and app.home and f"{value}/".startswith(f"{app.home}/"):
        return f"~{value[len(app.home) :]}"
    return str(value)


def _write_json(app: App, rows: list[Row], total: Row, columns: Sequence[OutputColumn]) -> None:
    names = app.console.format.columns
    known = [column.name for column in columns]
    for name in names or ():
        if name not in known:
            raise UsageError(f'no column "{name}"', hint=f"available columns: {', '.join(known)}")
    groups = [{name: row[name] for name in names or row} for row in rows]
    emit_json(app.console, {"groups": groups, "total": {name: total[name] for name in names or total if name in total}})


def _name_range(scope: Scope, total: Any) -> str:
    """Return the range of time for programs: stored times."""
    since = scope.since or (total["first_at"] and f"the first request, {total['first_at']}") or "the beginning"
    return f"from {since} to {scope.until or 'now'}"


def _describe_range(scope: Scope, total: Any, zone: tzinfo | None) -> str:
    """Return the range of time for people: ``from 2026-11-01 00:00 to now (UTC)``."""
    first = total["first_at"] and f"the first request, {format_time(total['first_at'], zone)},"
    since = format_time(scope.since, zone) if scope.since else first or "the beginning"
    until = format_time(scope.until, zone) if scope.until else "now"
    return f"from {since} to {until} ({zone or 'UTC'})"


def _render_bars(app: App, rows: Sequence[Row], keys: Sequence[str], measure: Measure) -> str:
    """Return a line for each row: its keys, a bar, and its tokens, cost or requests.

    On a terminal, bars of outliers are cut, so that the others are not empty.
    """
    labels = [" ".join(str(row[key]) if row[key] is not None else "-" for key in keys) for row in rows]
    values = [row[_MEASURES[measure]] or 0 for row in rows]
    texts = [_format_usage(row, measure) for row in rows]
    if app.console.shows_table:
        half = terminal.terminal_width(app.env, app.console.io.stdout) // 2
        labels = [terminal.truncate(label, half) for label in labels]
    label_width = max(map(terminal.display_width, labels))
    text_width = max(map(len, texts))
    bar_width = max(
        _MIN_BAR_WIDTH, terminal.terminal_width(app.env, app.console.io.stdout) - label_width - text_width - 4
    )
    largest = (_largest_usual(values) if app.console.shows_table else max(values)) or 1
    lines = []
    for label, text, value in zip(labels, texts, values, strict=True):
        padding = " " * (label_width - terminal.display_width(label))
        bar = _bar(value / largest, bar_width) if value <= largest else f"{'█' * (bar_width - 2)}»  "
        lines.append(f"{label}{padding}  {bar}{text}\n")
    if any(value > largest for value in values):
        lines.append(f"» is longer: up to {max(values) / largest:,.0f} times the longest bar\n")
    return "".join(lines)


def _largest_usual(values: Sequence[float]) -> float:
    """Return the largest value that is no outlier: one of at most a fifth of them, at least five times the next."""
    ordered = sorted(values, reverse=True)
    for index in range(max(1, len(ordered) // 5), 0, -1):
        if index < len(ordered) and ordered[index] > 0 and ordered[index - 1] >= 5 * ordered[index]:
            return ordered[index]
    return ordered[0]


def _format_usage(row: Row, measure: Measure) -> str:
    if measure == "requests":
        return pluralize(row["requests"], "request")
    cost = format_dollars(row["cost"]) if row["cost"] is not None else ""
    if measure == "cost":
        return cost or NO_VALUE
    return f"{row['total_tokens']:,} tokens{f', {cost}' if cost else ''}"


def _bar(share: float, width: int) -> str:
    whole, rest = divmod(round(share * width * 8), 8)
    bar = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"{bar} " if bar else ""
