"""What requests of the ledger cost, told from their rows: of dead processes, and of those that nobody could price."""

from __future__ import annotations

from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.events import Usage
from llmctl.core.stored_json import loads
from llmctl.engine.billing import cost, tracker
from llmctl.engine.billing.cost import Charge, Seller
from llmctl.engine.billing.rates import most, price_of
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import prices

_ENDPOINT = "SELECT endpoint FROM {network_calls} WHERE request_id = ? ORDER BY attempt LIMIT 1"


def columns(database: Database, request: Row, response: ChatResponse) -> dict[str, Any]:
    """Return what a dead process's request cost, as columns. Reads kept prices only: other writers are waiting."""
    found = charge(database, request, response.usage, response.model, looks_up=False)
    if request["reserved_cost"] is None:
        return found.columns()
    held = None if found.cost is not None else _maybe(database, request, response)
    return found.columns() | {"reserved_cost": held}


def charge(
    database: Database, request: Row, usage: Usage | None, response_model: str | None, *, looks_up: bool
) -> Charge:
    """Return what a request cost at the price of its time."""
    parameters = loads(request["parameters"], {})
    return cost.charge(
        database,
        _seller(database, request),
        usage,
        (response_model, request["model"]),
        moment=clock.parsed(request["created_at"]),
        context=cost.context_of(parameters.get("options") or {}),
        looks_up=looks_up,
    )


def _seller(database: Database, request: Row) -> Seller:
    name = request["provider"].lower()
    if name not in PROVIDERS:
        return Seller(name)
    provider = PROVIDERS.load(name)
    endpoint = database.value(_ENDPOINT, (request["id"],)) if provider.local else None
    return Seller(name, cost.is_free(provider, endpoint or provider.base_url))


def _maybe(database: Database, request: Row, response: ChatResponse) -> float | None:
    """Return what a request may have cost of which nobody says so: its input, and what came. None: it was not sent.

    Of embeddings and pictures nothing comes before all of it.
    """
    bound = loads(request["parameters"], {}).get("bound")
    if database.value(_ENDPOINT, (request["id"],)) is None:
        return None
    if bound is None:
        return float(request["reserved_cost"])
    row = prices.get(database, request["price_id"]) if request["price_id"] else None
    if row is None:
        return None
    moment = clock.parsed(request["created_at"])
    return most(price_of(row), bound["input_tokens"], tracker.came(response), with_files=True, moment=moment)
