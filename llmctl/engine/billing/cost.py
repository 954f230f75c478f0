"""What a request cost: the provider's own word, else a price that is kept in the hub, else nobody knows.

Prices of a model are looked up once and kept as rows; so is that there is none. Only a newer price list is asked
again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from math import isfinite
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import StorageError
from llmctl.core.events import Usage
from llmctl.engine.billing.rates import Context, Price, cost_of, price_of
from llmctl.engine.connections.target import Target
from llmctl.providers import Provider
from llmctl.providers.hosts import host_of, matches
from llmctl.store.database import Database, Row
from llmctl.store.records import prices

_PACKAGE, _DISTRIBUTION = "genai_prices", "genai_prices-"
#: Options of a request that pick another rate.
_CONTEXT = ("service_tier", "speed", "search_type")


class Seller(NamedTuple):
    """Whose prices count. ``is_free``: a server of the user's own, which costs nothing where nobody says otherwise."""

    provider: str
    is_free: bool = False


class Charge(NamedTuple):
    """What a request cost in US dollars, None where nobody knows, and the row it was priced by."""

    cost: float | None = None
    price_id: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return {"cost": self.cost, "price_id": self.price_id}


def seller_of(target: Target) -> Seller:
    return Seller(target.provider.name, is_free(target.provider, target.base_url))


def is_free(provider: Provider, base_url: str) -> bool:
    """Say whether nobody is paid: echo, and local servers that are not their maker's own service."""
    if provider.wire == "echo":
        return True
    host = host_of(base_url)
    return provider.local and not any(matches(host, pattern) for pattern in provider.hosts)


def charge(
    database: Database,
    seller: Seller,
    usage: Usage | None,
    models: Sequence[str | None],
    *,
    moment: datetime,
    context: Context | None = None,
    looks_up: bool = True,
) -> Charge:
    """Return what a use cost. ``models``: who answered, then who was asked; the first that has a price counts.

    Never fails: what the hub does not tell is not known. ``looks_up`` False reads kept prices only.
    """
    if usage is not None and usage.cost is not None and isfinite(usage.cost) and usage.cost >= 0:
        return Charge(usage.cost)
    if seller.provider == "echo":
        return Charge(0.0)
    if usage is None:
        return Charge(0.0 if seller.is_free else None)
    price = price_for(database, seller, models, moment=moment, looks_up=looks_up)
    if price is None:
        return Charge(0.0 if seller.is_free else None)
    cost = cost_of(usage, price, moment=moment, context=context or {})
    return Charge(cost, price.id if cost is not None else None)


def charge_of(
    database: Database, target: Target, usage: Usage | None, model: str | None, options: Mapping[str, Any], when: str
) -> Charge:
    """Return what a request to ``target`` cost that ``model`` answered, begun at the stored time ``when``."""
    return charge(
        database,
        seller_of(target),
        usage,
        (model, target.model),
        moment=clock.parsed(when),
        context=context_of(options),
    )


def context_of(options: Mapping[str, Any]) -> Context:
    """Return those options of a request that change its price."""
    return {name: options[name] for name in _CONTEXT if name in options}


def price_for(
    database: Database, seller: Seller, models: Sequence[str | None], *, moment: datetime, looks_up: bool = True
) -> Price | None:
    """Return the price that counts at a moment: the user's own for any of the models, else the list's."""
    names = list(dict.fromkeys(model for model in models if model))
    if not names or seller.provider == "echo":
        return None
    when, source = clock.stored(moment), list_version()
    try:
        rows = prices.of_models(database, seller.provider, names)
    except StorageError:
        return None
    own = _valid(rows, names, when, prices.USER)
    if own is not None or seller.is_free:
        return price_of(own) if own else None
    for name in names:
        kept = [row for row in rows if row["model"] == name]
        if looks_up and source and all(row["source"] != source for row in kept):
            kept = _looked_up(database, seller.provider, name, source)
        found = _valid(kept, [name], when, source)
        if found is not None and found["details"] != prices.UNKNOWN:
            return price_of(found)
    return None


@cache
def list_version() -> str | None:
    """Return name and version of the installed price list, without importing it; None where there is none."""
    for folder in sys.path:
        if folder and os.path.isdir(os.path.join(folder, _PACKAGE)):
            found = [name for name in os.listdir(folder) if name.startswith(_DISTRIBUTION)]
            version = found[0].removeprefix(_DISTRIBUTION).partition(".dist-info")[0] if found else "unknown"
            return f"genai-prices {version}"
    return None


def _valid(rows: Sequence[Row], models: Sequence[str], when: str, source: str | None) -> Row | None:
    """Return the row of a source that counts at a time, of the first model that has one (rows: latest first)."""
    for model in models:
        for row in rows:
            is_ours = row["source"] == source if source else row["source"] != prices.USER
            if row["model"] == model and is_ours and (row["valid_from"] or "") <= when:
                return row
    return None


def _looked_up(database: Database, provider: str, model: str, source: str) -> list[Row]:
    from llmctl.engine.models import catalog  # 200 ms: once for a model

    rows = catalog.rows(provider, model)
    try:
        return prices.remember(database, provider, model, source, rows)
    except StorageError:  # a hub that takes nothing: the price still counts
        unkept = [{**row, "id": None, "model": model, "source": source} for row in rows]
        return sorted(unkept, key=lambda row: row["valid_from"] or "", reverse=True)
