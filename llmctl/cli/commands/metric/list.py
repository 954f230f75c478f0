"""``llmctl metric list``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.metric.common import MetricArgument, WhereOption, build_filter
from llmctl.cli.commands.shared.time_range import PeriodOption, UntilOption
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.store.records import metrics

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("value", "number"),
    OutputColumn("dimensions", "json"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@list_output
def list_(
    ctx: typer.Context,
    name: MetricArgument = None,
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    where: WhereOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List metric values, newest first.

    Examples:
      llmctl metric list build_seconds --since 7d --where branch=main
    """
    app: App = ctx.obj
    rows = metrics.list_(app.hub(), build_filter(name, since, until, period, where), listing_args.parse_limit(limit))
    emit_list(app, rows, _COLUMNS)
