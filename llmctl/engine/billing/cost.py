"""The cost of a request: as reported by the provider, else calculated from a price in the hub, else unknown.

Prices of a model are looked up once and stored as rows, even if there are none. They are looked up again only when a
newer price list is installed.
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
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import StorageError
from llmctl.core.events import Usage
from llmctl.core.stored_json import loads
from llmctl.engine.billing.rates import Price, PriceContext, calculate_usage_cost, max_cost, price_from_row
from llmctl.engine.connections.target import Target
from llmctl.providers import PROVIDERS, Provider
from llmctl.providers.hosts import host_matches, parse_host
from llmctl.store.database import Database, Row
from llmctl.store.records import models, requests
from llmctl.store.records.types import RequestRow

_PACKAGE, _DISTRIBUTION = "genai_prices", "genai_prices-"
#: Request options that select another rate.
_CONTEXT_OPTIONS = ("service_tier", "speed", "search_type")


class PriceKey(NamedTuple):
    """Whose prices apply. ``is_free``: a local server, which costs nothing unless the user set a price."""

    provider: str
    is_free: bool = False


class Cost(NamedTuple):
    """The cost of a request in US dollars, None if unknown, and the id of the price it was calculated from."""

    amount: float | None = None
    price_id: str | None = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return {"cost": self.amount, "price_id": self.price_id}


def price_key(target: Target) -> PriceKey:
    return PriceKey(target.provider.name, is_free(target.provider, target.base_url))


def is_free(provider: Provider, base_url: str) -> bool:
    """Whether requests cost nothing: echo, and local servers other than the vendor's own cloud service."""
    if provider.wire == "echo":
        return True
    host = parse_host(base_url)
    return provider.local and not any(host_matches(host, pattern) for pattern in provider.hosts)


def calculate_cost(
    database: Database,
    key: PriceKey,
    usage: Usage | None,
    candidates: Sequence[str | None],
    *,
    moment: datetime,
    context: PriceContext | None = None,
    looks_up: bool = True,
) -> Cost:
    """Calculate the cost of a usage. ``candidates``: who answered, then who was asked; the first with a price counts.

    Never fails: if the hub cannot be read, the cost is unknown. ``looks_up=False`` uses stored prices only.
    """
    if usage is not None and usage.cost is not None and isfinite(usage.cost) and usage.cost >= 0:
        return Cost(usage.cost)
    if key.provider == "echo":
        return Cost(0.0)
    if usage is None:
        return Cost(0.0 if key.is_free else None)
    price = find_price(database, key, candidates, moment=moment, looks_up=looks_up)
    if price is None:
        return Cost(0.0 if key.is_free else None)
    cost = calculate_usage_cost(usage, price, moment=moment, context=context or {})
    return Cost(cost, price.id if cost is not None else None)


def cost_for_target(
    database: Database,
    target: Target,
    usage: Usage | None,
    model: str | None,
    options: Mapping[str, Any],
    started_at: str,
) -> Cost:
    """Calculate the cost of a request to ``target``, answered by ``model`` and begun at ``started_at``."""
    return calculate_cost(
        database,
        price_key(target),
        usage,
        (model, target.model),
        moment=clock.parse(started_at),
        context=price_context(options),
    )


def price_context(options: Mapping[str, Any]) -> PriceContext:
    """Return the options of a request that change its price."""
    return {name: options[name] for name in _CONTEXT_OPTIONS if name in options}


def find_price(
    database: Database, key: PriceKey, candidates: Sequence[str | None], *, moment: datetime, looks_up: bool = True
) -> Price | None:
    """Return the price at a moment: the user's own for any of the models, else that of the price list."""
    names = list(dict.fromkeys(model for model in candidates if model))
    if not names or key.provider == "echo":
        return None
    at, source = clock.format(moment), price_list_version()
    try:
        rows = models.prices_for_models(database, key.provider, names)
    except StorageError:
        return None
    own = _find_valid_row(rows, names, at, models.USER_SOURCE)
    if own is not None or key.is_free:
        return price_from_row(own) if own else None
    for name in names:
        stored = [row for row in rows if row["model"] == name]
        if looks_up and source and all(row["source"] != source for row in stored):
            stored = _look_up(database, key.provider, name, source)
        row = _find_valid_row(stored, [name], at, source)
        if row is not None and row["details"] != models.NO_PRICE:
            return price_from_row(row)
    return None


@cache
def price_list_version() -> str | None:
    """Return name and version of the installed price list, without importing it; None if there is none."""
    for folder in sys.path:
        if folder and os.path.isdir(os.path.join(folder, _PACKAGE)):
            names = [name for name in os.listdir(folder) if name.startswith(_DISTRIBUTION)]
            version = names[0].removeprefix(_DISTRIBUTION).partition(".dist-info")[0] if names else "unknown"
            return f"genai-prices {version}"
    return None


def _find_valid_row(rows: Sequence[Row], names: Sequence[str], at: str, source: str | None) -> Row | None:
    """Return the valid row of a source at a time, for the first model that has one. Rows are newest first."""
    for name in names:
        for row in rows:
            is_ours = row["source"] == source if source else row["source"] != models.USER_SOURCE
            if row["model"] == name and is_ours and (row["valid_from"] or "") <= at:
                return row
    return None


def _look_up(database: Database, provider: str, model: str, source: str) -> list[Row]:
    from llmctl.engine.models import catalog  # 200 ms: once per model

    rows = catalog.price_rows(provider, model)
    try:
        return models.store_source_prices(database, provider, model, source, rows)
    except StorageError:  # the hub is not writable: the price still applies
        unsaved = [{**row, "id": None, "model": model, "source": source} for row in rows]
        return sorted(unsaved, key=lambda row: row["valid_from"] or "", reverse=True)


def settle_stored_request(database: Database, request: RequestRow, response: ChatResponse) -> dict[str, Any]:
    """Return the cost of a dead process's request as columns. Uses stored prices only: other writers are waiting."""
    cost = calculate_stored_cost(database, request, response.usage, response.model, looks_up=False)
    if request.reserved_cost is None:
        return cost.to_columns()
    possible_cost = None if cost.amount is not None else _possible_cost(database, request, response)
    return cost.to_columns() | {"reserved_cost": possible_cost}


def calculate_stored_cost(
    database: Database, request: RequestRow, usage: Usage | None, response_model: str | None, *, looks_up: bool
) -> Cost:
    """Calculate the cost of a stored request at the price of its time."""
    parameters = loads(request.parameters, {})
    return calculate_cost(
        database,
        _stored_price_key(database, request),
        usage,
        (response_model, request.model),
        moment=clock.parse(request.created_at),
        context=price_context(parameters.get("options") or {}),
        looks_up=looks_up,
    )


def _stored_price_key(database: Database, request: RequestRow) -> PriceKey:
    name = request.provider.lower()
    if name not in PROVIDERS:
        return PriceKey(name)
    provider = PROVIDERS.load(name)
    endpoint = requests.find_endpoint(database, request.id) if provider.local else None
    return PriceKey(name, is_free(provider, endpoint or provider.base_url))


def _possible_cost(database: Database, request: RequestRow, response: ChatResponse) -> float | None:
    """Return what a request without usage may have cost: its input and the output that arrived. None: never sent.

    Embeddings and images arrive whole or not at all: all of their reserved cost counts.
    """
    from llmctl.engine.billing.estimate import max_response_tokens

    bound = loads(request.parameters, {}).get("bound")
    if requests.find_endpoint(database, request.id) is None:
        return None
    if bound is None:
        return request.reserved_cost
    row = models.find_price(database, request.price_id) if request.price_id else None
    if row is None:
        return None
    output_tokens, moment = max_response_tokens(response), clock.parse(request.created_at)
    return max_cost(price_from_row(row), bound["input_tokens"], output_tokens, with_files=True, moment=moment)
