"""``llmctl stats``: usage, cost and latency."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Any

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.time_range import PeriodOption, TimeZoneOption, UntilOption, parse_time_range
from llmctl.cli.console import terminal
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_json, emit_list, emit_record
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.core.humanize import format_dollars
from llmctl.store.database import Row
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
]
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MIN_BAR_WIDTH = 8


@list_output
def stats(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    agent: Annotated[str | None, typer.Option(metavar="REF", help="Only this agent.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Only this connection.")] = None,
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[,KEY]",
            help="hour, day, month, provider, model, connection, chat, agent, tool, tag, status, script, folder, host, "
            "or a custom field.",
        ),
    ] = None,
    tz: TimeZoneOption = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw bars; by day, unless --group-by.")] = False,
) -> None:
    """Show tokens, cost, latency and errors, for one chat or in total.

    Percentiles of one chat are exact, others within 5%. Days are UTC, unless --tz. A cost is empty where no price is
    known. Deleted chats stay counted.

    Examples:
      llmctl stats --json
      llmctl stats --in last-month --group-by model
      llmctl stats --since 7d --plot
      llmctl stats --chat last
    """
    app: App = ctx.obj
    zone = time_ranges.parse_time_zone(tz) if tz else None
    times = parse_time_range(since, until, period, zone or UTC)
    keys = _parse_keys(group_by, plot)
    database = app.hub()
    scope = resolve_scope(database, listing_args.find_chat_id(app, chat), agent, connection, *times)
    if not keys:
        _write_total(app, scope, query.get_total(database, scope))
        return
    rows, total = query.group_totals(database, scope, stats_group_by.build_grouping(database, keys, zone))
    _write_groups(app, scope, keys, rows, total, plot=plot)


def _parse_keys(group_by: str | None, plot: bool) -> list[str]:
    if group_by is None:
        return ["day"] if plot else []
    keys = [key.strip() for key in group_by.split(",")]
    if not all(keys):
        raise UsageError(f'--group-by must be a list of keys, got "{group_by}"')
    return keys


def _write_total(app: App, scope: Scope, total: Row) -> None:
    if app.console.format.kind == "auto":
        columns = [
            column.replace(header=column.name.removesuffix("_ms").replace("_", " "), is_default=True)  # no unit twice
            for column in _COLUMNS[:-1]
        ]
        emit_record(app.console, {"range": _describe_range(scope, total)} | total, [OutputColumn("range"), *columns])
    elif app.console.format.is_json:
        emit_record(app.console, total, _COLUMNS)
    else:
        emit_list(app.console, [total], _COLUMNS)


def _write_groups(app: App, scope: Scope, keys: Sequence[str], rows: list[Row], total: Row, *, plot: bool) -> None:
    columns = [*(OutputColumn(key) for key in keys), *_COLUMNS]
    if app.console.format.kind == "json":
        _write_json(app, rows, total, columns)
        return
    if app.console.format.kind == "auto" and (app.console.io.stdout_tty or plot):
        app.console.io.write(f"{listing_args.sanitize(app.console, _describe_range(scope, total))}\n")
    if app.console.format.kind == "auto" and plot:
        app.console.io.write(listing_args.sanitize(app.console, _render_bars(app, rows, keys)))
    else:
        emit_list(app.console, rows, columns)


def _write_json(app: App, rows: list[Row], total: Row, columns: Sequence[OutputColumn]) -> None:
    names = app.console.format.columns
    known = [column.name for column in columns]
    for name in names or ():
        if name not in known:
            raise UsageError(f'no column "{name}"', hint=f"available columns: {', '.join(known)}")
    groups = [{name: row[name] for name in names or row} for row in rows]
    emit_json(app.console, {"groups": groups, "total": {name: total[name] for name in names or total if name in total}})


def _describe_range(scope: Scope, total: Any) -> str:
    since = scope.since or (total["first_at"] and f"the first request, {total['first_at']}") or "the beginning"
    return f"from {since} to {scope.until or 'now'}"


def _render_bars(app: App, rows: Sequence[Row], keys: Sequence[str]) -> str:
    """Return a line for each row: its keys, a bar of its tokens, their number, and the cost if it is known."""
    labels = [" ".join(str(row[key]) if row[key] is not None else "-" for key in keys) for row in rows]
    texts = [_format_usage(row) for row in rows]
    label_width = max(map(terminal.display_width, labels), default=0)
    text_width = max(map(len, texts), default=0)
    bar_width = max(
        _MIN_BAR_WIDTH, terminal.terminal_width(app.env, app.console.io.stdout) - label_width - text_width - 4
    )
    largest = max((row["total_tokens"] for row in rows), default=0) or 1
    lines = []
    for label, text, row in zip(labels, texts, rows, strict=True):
        padding = " " * (label_width - terminal.display_width(label))
        lines.append(f"{label}{padding}  {_bar(row['total_tokens'] / largest, bar_width)}{text}\n")
    return "".join(lines)


def _format_usage(row: Row) -> str:
    cost = f", {format_dollars(row['cost'])}" if row["cost"] is not None else ""
    return f"{row['total_tokens']:,} tokens{cost}"


def _bar(share: float, width: int) -> str:
    whole, rest = divmod(round(share * width * 8), 8)
    bar = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"{bar} " if bar else ""
