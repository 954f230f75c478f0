"""``llmctl model show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.model.common import COLUMNS, ModelArgument, open_hub_if_exists
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.core import clock


@record_output
def show(ctx: typer.Context, model: ModelArgument) -> None:
    """Show a model's limits, capabilities and price.

    Prices are in US dollars per million tokens, as of now; your own take precedence.

    Examples:
      llmctl model show gpt-4o
      llmctl model show anthropic:claude-sonnet-4-5
    """
    from llmctl.engine.models import catalog, lookup

    app: App = ctx.obj
    database = open_hub_if_exists(app)
    ref = lookup.resolve_model(database, model, app.env)
    known = catalog.find(*ref)
    row = known.to_record(clock.now()) if known else {"id": ref.model, "provider": ref.provider}
    price = next((price for price in lookup.price_history(database, ref) if price["is_current"]), None)
    rates = {name: price[name] for name in price if name.endswith("_per_million")} if price else {}
    source = {"price_source": price["source"] if price else None, "price": price and price["details"]}
    document = {**row, **rates, **source}
    kinds = {column.name: column.kind for column in COLUMNS}
    emit_record(app, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
