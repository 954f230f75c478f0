"""From the flags of ``stats`` to its figures on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from llmctl.cli import looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_json, emit_list, emit_record
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.engine.inspect import stats_scope
from llmctl.store.database import Database, Row
from llmctl.store.stats import group_by as stats_group_by
from llmctl.store.stats import query
from llmctl.store.stats.scope import Scope

_COLUMNS = [
    Column("requests", "number"),
    Column("failed_requests", "number", header="failed"),
    Column("messages", "number"),
    Column("tool_calls", "number", shown=False),
    Column("input_tokens", "number", header="in"),
    Column("output_tokens", "number", header="out"),
    Column("total_tokens", "number", shown=False),
    Column("cached_tokens", "number", header="cached"),
    Column("cache_write_tokens", "number", shown=False),
    Column("thinking_tokens", "number", shown=False),
    Column("cost", "cost"),
    Column("unpriced_requests", "number", header="unpriced"),
    Column("duration_ms", "duration", shown=False),
    Column("avg_duration_ms", "duration", shown=False),
    Column("p50_duration_ms", "duration", header="p50"),
    Column("p95_duration_ms", "duration", header="p95"),
    Column("p50_time_to_first_token_ms", "duration", header="first token"),
    Column("p95_time_to_first_token_ms", "duration", shown=False),
    Column("retries", "number", shown=False),
    Column("failed_tool_calls", "number", shown=False),
    Column("tool_duration_ms", "duration", shown=False),
    Column("cache_savings", "cost", shown=False),
    Column("first_at", "time", shown=False),
    Column("last_at", "time", header="last"),
    Column("chat_id", "id", shown=False),
]


class Wishes(NamedTuple):
    """The flags."""

    chat: str | None
    agent: str | None
    connection: str | None
    since: str | None
    until: str | None
    period: str | None
    group_by: str | None
    tz: str | None
    plot: bool


def show(app: App, wishes: Wishes) -> None:
    """Count, and write it: one record, or a row for each group."""
    zone = time_ranges.time_zone(wishes.tz) if wishes.tz else None
    span = span_of(wishes.since, wishes.until, wishes.period, zone or UTC)
    keys = _keys(wishes)
    database = app.hub()
    chat_id = looking.chat_id(database, wishes.chat)
    scope = stats_scope.scope(database, chat_id, wishes.agent, wishes.connection, *span)
    if keys:
        _show_groups(app, database, scope, keys, zone, wishes)
        return
    figures = query.total(database, scope)
    if app.format.kind == "auto":
        figures = {"range": _range(scope, figures)} | figures
        emit_record(
            app, figures, [Column("range"), *(column._replace(header=None, shown=True) for column in _COLUMNS[:-1])]
        )
    elif app.format.is_json:
        emit_record(app, figures, _COLUMNS)
    else:
        emit_list(app, [figures], _COLUMNS)


def _show_groups(
    app: App, database: Database, scope: Scope, keys: Sequence[str], zone: tzinfo | None, wishes: Wishes
) -> None:
    rows, total = query.grouped(database, scope, stats_group_by.grouping(database, keys, zone))
    columns = [*(Column(key) for key in keys), *_COLUMNS]
    if app.format.kind == "json":
        _write_json(app, rows, total, columns)
        return
    if app.format.kind == "auto" and (app.io.stdout_tty or wishes.plot):
        app.io.write(f"{looking.harmless(app, _range(scope, total))}\n")
    if app.format.kind == "auto" and wishes.plot:
        from llmctl.cli import bars

        app.io.write(looking.harmless(app, bars.drawn(app, rows, keys)))
    else:
        emit_list(app, rows, columns)


def _write_json(app: App, rows: list[Row], total: Row, columns: Sequence[Column]) -> None:
    names = app.format.columns
    for name in names or ():
        if name not in {column.name for column in columns}:
            raise UsageError(f'no column "{name}"', hint=f"there are {', '.join(column.name for column in columns)}")
    chosen = [{name: row[name] for name in names or row} for row in rows]
    emit_json(app, {"groups": chosen, "total": {name: total[name] for name in names or total if name in total}})


def _keys(wishes: Wishes) -> list[str]:
    if wishes.group_by is None:
        return ["day"] if wishes.plot else []
    keys = [key.strip() for key in wishes.group_by.split(",")]
    if not all(keys):
        raise UsageError(f'"--group-by {wishes.group_by}" has an empty key')
    return keys


def span_of(since: str | None, until: str | None, period: str | None, zone: tzinfo) -> tuple[str | None, str | None]:
    """Return the stored times that ``--since --until --in`` mean; raise UsageError for what cannot be meant."""
    if period is not None:
        if since is not None or until is not None:
            raise UsageError('"--in" excludes "--since" and "--until"')
        return time_ranges.span(period, zone=zone)
    begin, end = (time_ranges.moment(text, zone=zone) if text is not None else None for text in (since, until))
    if begin and end and begin > end:
        raise UsageError(f'"--since {since}" is later than "--until {until}"')
    return begin, end


def _range(scope: Scope, figures: Any) -> str:
    """Return in words which time the figures are of."""
    since = scope.since or (figures["first_at"] and f"the first request, {figures['first_at']}") or "the beginning"
    return f"from {since} to {scope.until or 'now'}"
