"""What the commands of metrics share: arguments, and the filter they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli import argument_parsers
from llmctl.cli.commands.shared.time_range import parse_time_range
from llmctl.store.records import metrics

WhereOption = Annotated[list[str] | None, typer.Option(metavar="K=V", help="Only values with this dimension.")]
MetricArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this metric.")]


def build_filter(
    name: str | None, since: str | None, until: str | None, period: str | None, where: Sequence[str] | None
) -> metrics.MetricFilter:
    """Return the filter of the flags."""
    dimensions = [(key, str(value)) for key, value in argument_parsers.parse_pairs(where or (), "--where").items()]
    return metrics.MetricFilter(name, *parse_time_range(since, until, period), dimensions)
