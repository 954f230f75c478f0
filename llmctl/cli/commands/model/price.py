"""``llmctl model price``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_pairs
from llmctl.cli.commands.model.common import ModelArgument, open_hub_if_exists
from llmctl.cli.console.output import OutputColumn, emit_change, emit_list, list_output
from llmctl.core import clock, time_ranges
from llmctl.core.errors import UsageError
from llmctl.store.database import Row
from llmctl.store.records import models

_COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("source"),
    OutputColumn("valid_from", header="from"),
    OutputColumn("is_current", "bool", header="counts now"),
    *(OutputColumn(f"{name}_per_million", "number", header=f"$ {name} / M") for name in ("input", "output", "cached")),
    *(OutputColumn(f"{name}_per_million", "number", is_default=False) for name in ("cache_write", "thinking")),
    OutputColumn("details", "json", is_default=False),
    OutputColumn("provider", is_default=False),
    OutputColumn("model", is_default=False),
]


@list_output
def price(
    ctx: typer.Context,
    model: ModelArgument,
    rates: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="RATE=USD", help="Price per million tokens: input, output, cached, …"),
    ] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="When it starts to apply. [now]")] = None,
) -> None:
    """Show a model's price history, or set a price.

    Your own price takes precedence over the price list from its date on; rates that are not given stay as they were.
    Token rates (input, output, cached, cache_write, cache_write_1h, thinking, input_audio, …) are per million, others
    (request, image, web_search, audio_second) per unit. To apply it to past requests: llmctl model reprice --all

    Examples:
      llmctl model price gpt-4o
      llmctl model price openai:my-tuned-model --set input=3 --set output=12 --from 2026-10-01
    """
    from llmctl.engine.models import lookup

    app: App = ctx.obj
    if rates or since:
        row = _set_price(app, model, rates or (), since)
        emit_change(app, row, f"set the price of {row['provider']}:{row['model']} from {row['valid_from'][:10]}")
        return
    database = open_hub_if_exists(app)
    emit_list(app, lookup.price_history(database, lookup.resolve_model(database, model, app.env)), _COLUMNS)


def _set_price(app: App, model: str, rates: Sequence[str], since: str | None) -> Row:
    """Store a price of the user's own; return its row."""
    from llmctl.engine.models import lookup

    new_rates = parse_pairs(rates, "--set", parse_values=True)
    if not new_rates:
        raise UsageError("--from requires --set", hint="such as --set input=3 --set output=15")
    database = app.hub("create")
    ref = lookup.resolve_model(database, model, app.env, allow_unknown=True)
    start = time_ranges.parse_time(since) if since else clock.now()
    history = lookup.price_history(database, ref)
    list_source = next((row["source"] for row in history if row["source"] != models.USER_SOURCE), None)
    old = lookup.effective_price(history, list_source, start)
    return models.add_user_price(database, *ref, lookup.override_price(old, new_rates, start))
