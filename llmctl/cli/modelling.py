"""What ``llmctl model`` finds and changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from llmctl.cli.app import App
from llmctl.cli.values import pairs
from llmctl.core import clock, time_ranges
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.registry import unknown
from llmctl.engine.connections import target
from llmctl.engine.models import catalog, lookup
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import aliases, prices


def found(provider: str | None, type: str | None, search: str | None) -> list[dict[str, Any]]:
    """Return the models that the tables have; NotFoundError where none fits, with near names."""
    if provider is not None and provider not in PROVIDERS:
        raise unknown("provider", provider, catalog.providers(), error=NotFoundError)
    known = catalog.everything([provider] if provider else catalog.providers())
    now = clock.now()
    records = [one.record(now) for one in known]
    fitting = [record for record in records if _fits(record, type, search)]
    if not fitting and search:
        raise catalog.missing(search, (record["id"] for record in records))
    return fitting


def card(app: App, reference: str) -> dict[str, Any]:
    """Return what is known of a model, with the price that counts now."""
    database = _hub_if_there(app)
    named = lookup.meant(database, reference, app.env)
    known = catalog.find(*named)
    row = known.record(clock.now()) if known else {"id": named.model, "provider": named.provider}
    price = next((price for price in lookup.history(database, named) if price["is_current"]), None)
    rates = {name: price[name] for name in price if name.endswith("_per_million")} if price else {}
    return {**row, **rates, "price_source": price["source"] if price else None, "price": price and price["details"]}


def price_history(app: App, reference: str) -> list[Row]:
    """Return what a model cost and costs, the newest first."""
    database = _hub_if_there(app)
    return lookup.history(database, lookup.meant(database, reference, app.env))


def set_price(app: App, reference: str, rates: Sequence[str], since: str | None) -> Row:
    """Keep a price of the user's own; return its row."""
    given = pairs(rates, "--set", typed=True)
    if not given:
        raise UsageError("--from says when, but not what it costs", hint="add such as --set input=3 --set output=15")
    database = app.hub("create")
    named = lookup.meant(database, reference, app.env, may_be_new=True)
    begins = time_ranges.moment(since) if since else clock.now()
    history = lookup.history(database, named)
    before = lookup.effective(history, _listed_source(history), begins)
    return prices.override(database, *named, lookup.overridden(before, given, begins))


def aliases_of(app: App) -> list[Row]:
    return aliases.listed(app.hub())


def put_alias(app: App, name: str, meaning: str, options: Sequence[str]) -> Row:
    """Keep an alias. What it means has to be something now; a connection of that name would hide it."""
    database = app.hub("create")
    if database.value("SELECT 1 FROM {model_connections} WHERE name = ?", (name,)):
        raise UsageError(f'there is a connection "{name}", which goes before an alias', hint="choose another name")
    if meaning == name:
        raise UsageError(f'the alias "{name}" would mean itself')
    with database.transaction():
        row = aliases.put(database, name, meaning, pairs(options, "-o", typed=True))
        target.resolve(database, name, app.env)  # raises where it means nothing, or itself in the end
    return row


def remove_alias(app: App, ref: str) -> Row:
    """Delete an alias; return what it was. UsageError where others mean it: they would come to mean a model."""
    database = app.hub("write")
    row = aliases.get(database, ref)
    if others := [other["name"] for other in aliases.listed(database) if other["target"] == row["name"]]:
        raise UsageError(
            f'"{row["name"]}" is what the alias "{others[0]}" means',
            hint=f"first: llmctl model alias remove {others[0]}, or give it another meaning",
        )
    aliases.remove(database, row["id"])
    return row


def refuse_alias(words: Sequence[str]) -> NoReturn:
    """Raise UsageError for words that are no alias."""
    raise UsageError(
        f'"model alias {" ".join(words)}" says too little or too much',
        hint="such as: llmctl model alias NAME TARGET; or list; or remove NAME",
    )


def _fits(record: dict[str, Any], type: str | None, search: str | None) -> bool:
    if type is not None and (record["type"] or "chat") != type:
        return False
    words: Iterable[str] = (*record["names"], record["name"] or "")
    return search is None or any(search.lower() in word.lower() for word in words)


def _listed_source(history: Sequence[Row]) -> str | None:
    return next((row["source"] for row in history if row["source"] != prices.USER), None)


def _hub_if_there(app: App) -> Database | None:
    """Return the hub for reading; the tables can be read without one."""
    return app.hub() if app.hub_path == ":memory:" or os.path.exists(app.hub_path) else None
