"""``llmctl metric add``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from llmctl.cli import argument_parsers, common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change, record_output
from llmctl.core.errors import UsageError
from llmctl.store.records import metrics


@record_output
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the metric.")],
    value: Annotated[float, typer.Argument(metavar="VALUE", help="A number.")],
    dimension: Annotated[list[str] | None, typer.Option("--dimension", "-d", metavar="K=V|K:=JSON")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it was measured. [now]")] = None,
    reference: common_options.ReferenceOption = None,
) -> None:
    """Record a measured value.

    Examples:
      llmctl metric add build_seconds 12.5 -d branch=main
      llmctl metric add score 0.93 -d suite=regression --at 2026-10-05
    """
    app: App = ctx.obj
    if not name.strip():
        raise UsageError("the name of a metric must not be empty")
    if not math.isfinite(value):
        raise UsageError(f'VALUE must be a finite number, got "{value}"')
    references = {
        key: str(target) for key, target in argument_parsers.parse_pairs(reference or (), "--reference").items()
    }
    dimensions = argument_parsers.parse_pairs(dimension or (), "--dimension")
    time = listing_args.parse_time(at)
    row = metrics.add(app.hub("create"), name, value, dimensions=dimensions, references=references, at=time)
    emit_change(app, row, f'recorded {value:g} as "{name}"')
