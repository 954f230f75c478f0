"""The cost of a request, and the limits on it.

A cost is that reported by the provider, else calculated from a price in the hub, else unknown. Prices of a model are
looked up once and stored as rows, even if there are none; again only when a newer price list is installed.

Before a request begins, the most it may cost is reserved; its end settles the reservation. Check and reservation share
one write transaction with the beginning of the request, so that parallel processes cannot exceed a limit together.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from math import isfinite
from threading import Lock
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse, File, Message, Usage
from llmctl.core.errors import BudgetError, StorageError
from llmctl.core.stored_values import loads
from llmctl.core.values import Value
from llmctl.engine.connections import trust
from llmctl.engine.connections.target import Target
from llmctl.providers import PROVIDERS, Provider, host_matches, parse_host
from llmctl.store.database import WRITE_ERRORS, Database
from llmctl.store.records import requests
from llmctl.store.records.types import PriceRow, RequestRow

if TYPE_CHECKING:  # prices are loaded once there is a usage to price, or a limit to check
    from llmctl.engine.models.rates import Price, PriceContext


_PACKAGE, _DISTRIBUTION = "genai_prices", "genai_prices-"
#: Request options that select another rate.
_CONTEXT_OPTIONS = ("service_tier", "speed", "search_type")


class PriceKey(Value):
    """Whose prices apply. ``is_free``: a local server, which costs nothing unless the user set a price."""

    provider: str
    is_free: bool = False
    #: The hub is someone else's: what it stores counts only for models that the installed price list does not have.
    is_foreign: bool = False
    #: Ids of prices that came with a file and do not count.
    ignored: frozenset[str] = frozenset()


class Cost(Value):
    """The cost of a request in US dollars, None if unknown, and the id of the price it was calculated from."""

    amount: float | None = None
    price_id: str | None = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return {"cost": self.amount, "price_id": self.price_id}


def price_key(target: Target) -> PriceKey:
    return PriceKey(target.provider.name, is_free(target.provider, target.base_url))


def limited_price_key(
    database: Database, target: Target, limits: CostLimits, env: Mapping[str, str] | None
) -> PriceKey:
    """Return whose prices apply to a request under limits: a file or a hub of someone else must not lower them.

    ``env`` says who the user is; None: not known, every price in the hub counts.
    """
    key = price_key(target)
    if not limits or env is None:
        return key
    ignored = trust.list_foreign_prices(database, env)
    return key.replace(is_foreign=not trust.is_own_hub(database, env), ignored=ignored)


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
    prices: PriceCache | None = None,
) -> Cost:
    """Calculate the cost of a usage. The first of ``candidates`` with a price counts.

    Never fails: if the hub cannot be read, the cost is unknown. ``looks_up=False`` uses stored prices only.
    """
    if usage is not None and usage.cost is not None and isfinite(usage.cost) and usage.cost >= 0:
        return Cost(usage.cost)
    if key.provider == "echo":
        return Cost(0.0)
    if usage is None or usage.unknown:
        return Cost(0.0 if key.is_free else None)
    price = (
        prices.find(key, candidates, moment)
        if prices
        else find_price(database, key, candidates, moment=moment, looks_up=looks_up)
    )
    if price is None:
        return Cost(0.0 if key.is_free else None)
    from llmctl.engine.models.rates import calculate_usage_cost

    answered = {"service_tier": usage.service_tier} if usage.service_tier else {}
    cost = calculate_usage_cost(usage, price, moment=moment, context={**(context or {}), **answered})
    return Cost(cost, price.id if cost is not None else None)


def cost_for_target(
    database: Database,
    target: Target,
    usage: Usage | None,
    model: str | None,
    options: Mapping[str, Any],
    started_at: str,
    key: PriceKey | None = None,
) -> Cost:
    """Calculate the cost of a request to ``target``, answered by ``model`` and started at ``started_at``."""
    return calculate_cost(
        database,
        key or price_key(target),
        usage,
        (model, target.model),
        moment=clock.parse(started_at),
        context=price_context(options),
    )


def price_context(options: Mapping[str, Any], processing: str | None = None) -> PriceContext:
    """Return what changes the price of a request: some of its options, and how it is processed (``batch``)."""
    context = {name: options[name] for name in _CONTEXT_OPTIONS if name in options}
    return context | {"processing": processing} if processing else context


def find_price(
    database: Database, key: PriceKey, candidates: Sequence[str | None], *, moment: datetime, looks_up: bool = True
) -> Price | None:
    """Return the price at a moment: the user's own for any of the models, else that of the price list."""
    names = list(dict.fromkeys(model for model in candidates if model))
    if not names or key.provider == "echo":
        return None
    from llmctl.engine.models.rates import price_from_row
    from llmctl.store.records import models

    at, source = clock.format(moment), price_list_version()
    if key.is_foreign and not key.is_free and source:
        for name in names:
            row = _find_valid_row(_read_price_list(key.provider, name, source), [name], at)
            if row is not None:
                return price_from_row(row)
    try:
        rows = models.prices_for_models(database, key.provider, names)
    except (StorageError, *WRITE_ERRORS):
        return None
    has_ignored = any(row.id in key.ignored for row in rows)
    rows = [row for row in rows if row.id not in key.ignored]
    own = _find_valid_row([row for row in rows if row.source == models.USER_SOURCE], names, at)
    if own is not None or key.is_free:
        return price_from_row(own) if own else None
    for name in names:
        stored = [row for row in rows if row.model == name and row.source != models.USER_SOURCE]
        if has_ignored and source:  # some of the rows of the list may be forged
            stored = _read_price_list(key.provider, name, source)
        elif looks_up and source and all(row.source != source for row in stored):
            stored = _look_up(database, key.provider, name, source)
        row = _find_valid_row([row for row in stored if not source or row.source == source], [name], at)
        if row is not None and row.details != models.NO_PRICE:
            return price_from_row(row)
    return None


#: Seconds after which a price is looked up again, in case it has changed.
_PRICE_CACHE_S = 60.0


class PriceCache:
    """The prices of many requests, each looked up once a minute. Thread-safe; nobody else may use its connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[PriceKey, tuple[str | None, ...]], tuple[float, Price | None]] = {}
        self._lock = Lock()

    def find(self, key: PriceKey, candidates: Sequence[str | None], moment: datetime) -> Price | None:
        """Return what :func:`find_price` returns."""
        wanted = key, tuple(candidates)
        with self._lock:
            found_at, price = self._found.get(wanted, (-math.inf, None))
            if time.monotonic() - found_at >= _PRICE_CACHE_S:
                price = find_price(self._database, key, candidates, moment=moment)
                self._found[wanted] = time.monotonic(), price
            return price


@cache
def price_list_version() -> str | None:
    """Return name and version of the installed price list, without importing it; None if there is none."""
    for folder in sys.path:
        if folder and os.path.isdir(os.path.join(folder, _PACKAGE)):
            names = [name for name in os.listdir(folder) if name.startswith(_DISTRIBUTION)]
            version = names[0].removeprefix(_DISTRIBUTION).partition(".dist-info")[0] if names else "unknown"
            return f"genai-prices {version}"
    return None


def _find_valid_row(rows: Sequence[PriceRow], names: Sequence[str], at: str) -> PriceRow | None:
    """Return the row that is valid at a time, of the first model that has one. Rows are newest first."""
    for name in names:
        for row in rows:
            if row.model == name and (row.valid_from or "") <= at:
                return row
    return None


def _look_up(database: Database, provider: str, model: str, source: str) -> list[PriceRow]:
    from llmctl.engine.models import catalog  # 200 ms: once per model
    from llmctl.store.records import models

    rows = catalog.price_rows(provider, model)
    try:
        return models.store_source_prices(database, provider, model, source, rows)
    except (StorageError, *WRITE_ERRORS):  # the hub is not writable: the price still applies
        return _read_price_list(provider, model, source)


def _read_price_list(provider: str, model: str, source: str) -> list[PriceRow]:
    """Return the prices of a model in the installed list, newest first, as rows that are in no hub."""
    from llmctl.engine.models import catalog  # 200 ms

    now = clock.now()
    named = {"id": "", "provider": provider, "model": model, "source": source, "created_at": now, "updated_at": now}
    rows = [PriceRow.from_row({**row, **named}) for row in catalog.price_rows(provider, model)]
    return sorted(rows, key=lambda row: row.valid_from or "", reverse=True)


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
    """Calculate the cost of a stored request at the price of its time; a stored answer that was used again is free."""
    if request.cached_from is not None:
        return Cost(0.0)
    parameters = loads(request.parameters, {})
    return calculate_cost(
        database,
        _stored_price_key(database, request),
        usage,
        (response_model, request.model),
        moment=clock.parse(request.created_at),
        context=price_context(parameters.get("options") or {}, request.processing),
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
    from llmctl.engine.models.rates import MAX_OUTPUT_TOKENS, max_cost, max_response_tokens, price_from_row
    from llmctl.store.records import models

    bound = loads(request.parameters, {}).get("bound")
    if requests.find_endpoint(database, request.id) is None:
        return None
    if bound is None:
        return request.reserved_cost
    row = models.find_price(database, request.price_id) if request.price_id else None
    if row is None:
        return None
    output_tokens = min(max_response_tokens(response), bound.get("output_tokens") or MAX_OUTPUT_TOKENS)
    moment = clock.parse(request.created_at)
    cost = max_cost(price_from_row(row), bound["input_tokens"], output_tokens, with_files=True, moment=moment)
    return cost if cost is None or request.reserved_cost is None else min(cost, request.reserved_cost)


# --- limits


#: Sums of binary fractions are inexact.
_ROUNDING_ERROR = 1e-12


class CommandBudget:
    """What one command may spend, with all its steps, retries, fallbacks and sub-agents. Thread-safe."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._spent = 0.0
        self._reserved = 0.0
        self._lock = Lock()

    @property
    def left(self) -> float:
        return self.limit - self._spent - self._reserved

    def reserve(self, amount: float) -> bool:
        """Reserve an amount; return False if it does not fit."""
        with self._lock:
            if amount > self.left + _ROUNDING_ERROR:
                return False
            self._reserved += amount
            return True

    def settle(self, amount: float, cost: float) -> None:
        """Replace a reserved amount with the actual cost."""
        with self._lock:
            self._reserved -= amount
            self._spent += cost


class CostLimits(Value):
    """The limits that apply to a request, in US dollars. Days and months are UTC."""

    command: CommandBudget | None = None
    day: float | None = None
    month: float | None = None

    def __bool__(self) -> bool:
        return self.command is not None or self.day is not None or self.month is not None


class CostEstimate(Value):
    """The most tokens that a request may use, their cost, and the part of the cost that is input."""

    input_tokens: int
    output_tokens: int
    cost: float
    input_cost: float

    def token_counts(self) -> dict[str, int]:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


class Reservation(Value):
    """The cost reserved for one request."""

    limits: CostLimits
    estimate: CostEstimate
    price: Price

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of a request that begins."""
        return {"reserved_cost": self.estimate.cost, "price_id": self.price.id}

    def reserve(self, database: Database) -> None:
        """Check all limits and reserve the cost, within the transaction that begins the request.

        Raises BudgetError if a limit would be exceeded; nothing was sent then.
        """
        now = clock.now()
        for name, limit, since in self._period_limits(now):
            spent, reserved = requests.get_spending(database, since)
            left = limit - spent - reserved
            if self.estimate.cost > left + _ROUNDING_ERROR:
                raise self._limit_error(name, limit, left, f"llmctl settings set {name}")
        command = self.limits.command
        if command is not None and not command.reserve(self.estimate.cost):
            raise self._limit_error("--max-cost", command.limit, command.left, "--max-cost")

    def cancel(self) -> None:
        """Undo :meth:`reserve` for the command: the request did not begin."""
        if self.limits.command is not None:
            self.limits.command.settle(self.estimate.cost, 0.0)

    def settle(self, cost: float | None, possible_cost: float | None) -> None:
        """Charge the actual cost to the command, or the possible cost if the actual one is unknown."""
        if self.limits.command is not None:
            charged = cost if cost is not None else possible_cost
            self.limits.command.settle(self.estimate.cost, charged or 0.0)

    def _period_limits(self, now: str) -> Iterator[tuple[str, float, str]]:
        """Yield setting, limit and beginning of each period with a limit."""
        if self.limits.day is not None:
            yield "budget.day", self.limits.day, f"{now[:10]}T00:00:00.000+00:00"
        if self.limits.month is not None:
            yield "budget.month", self.limits.month, f"{now[:7]}-01T00:00:00.000+00:00"

    def _limit_error(self, name: str, limit: float, left: float, command: str) -> BudgetError:
        from llmctl.core.humanize import format_dollars

        estimate = self.estimate
        sufficient = math.ceil((limit - left + estimate.cost) * 100) / 100
        return BudgetError(
            f"not sent: it could cost up to {format_dollars(estimate.cost)} ({estimate.input_tokens} tokens in,"
            f" {estimate.output_tokens} out), and {format_dollars(max(0.0, left))} is left of the"
            f" {format_dollars(limit)} allowed by {name}",
            hint=f"{self._shorter_answer_hint(left)}raise the limit: {command} {sufficient:g}",
            reason="max_cost" if name == "--max-cost" else name.replace(".", "_"),
        )

    def _shorter_answer_hint(self, left: float) -> str:
        """Suggest a limit for the answer that would fit; llmctl never shortens it on its own."""
        estimate = self.estimate
        output_cost = estimate.cost - estimate.input_cost
        per_token = output_cost / estimate.output_tokens if estimate.output_tokens else 0.0
        tokens = int((left - estimate.input_cost) / per_token) if per_token > 0 else 0
        return f"limit the answer: -o max_tokens={tokens}; or " if tokens >= 16 else ""


class SettledCost(Value):
    """The cost of a request; ``reserved_cost`` stays reserved if it ran under a limit and its cost is unknown."""

    cost: Cost
    was_limited: bool = False
    reserved_cost: float | None = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return self.cost.to_columns() | ({"reserved_cost": self.reserved_cost} if self.was_limited else {})


class CostTracker:
    """Calculates the cost of a turn's requests and keeps them within its limits.

    ``processing`` is that of all of them: ``batch``, or None for at once.
    """

    def __init__(
        self,
        database: Database,
        target: Target,
        limits: CostLimits,
        prices: PriceCache | None = None,
        processing: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._env = env
        self._target = target
        self._limits = limits
        self._prices = prices
        self._processing = processing
        self._request: ChatRequest | None = None
        self._started_at = datetime.now(UTC)

    @cached_property
    def _price_key(self) -> PriceKey:
        return limited_price_key(self._database, self._target, self._limits, self._env)

    def prepare_reservation(self, request: ChatRequest, build_body: Callable[[], bytes]) -> Reservation | None:
        """Return what has to be reserved for a request that begins now; None if there is no limit.

        ``build_body`` returns the body without the content of files. Raises BudgetError if there is a limit and the
        price is unknown.
        """
        self._request, self._started_at = request, datetime.now(UTC)
        return self._build_reservation(request, build_body) if self._limits else None

    def _build_reservation(self, request: ChatRequest, build_body: Callable[[], bytes]) -> Reservation | None:
        from llmctl.engine.models import rates

        price = (
            self._prices.find(self._price_key, (request.model,), self._started_at)
            if self._prices
            else find_price(self._database, self._price_key, (request.model,), moment=self._started_at)
        )
        if price is None:
            if self._price_key.is_free:
                return None
            raise unknown_price_error(self._target.provider.name, request.model)
        if option := rates.find_unbounded_option(request.options):
            raise unbounded_cost_error(option)
        files = tuple(_list_files(request.messages))
        body = build_body()
        input_tokens = rates.max_input_tokens(body, files, price.context_window)
        output_tokens = rates.max_output_tokens(body, price.context_window, price.max_output_tokens)
        cost, input_cost = (self._max_cost(price, input_tokens, count, bool(files)) for count in (output_tokens, 0))
        if cost is None or input_cost is None:
            raise unknown_price_error(self._target.provider.name, request.model)
        return Reservation(self._limits, CostEstimate(input_tokens, output_tokens, cost, input_cost), price)

    def settle_cost(
        self, response: ChatResponse, reservation: Reservation | None, *, may_be_billed: bool
    ) -> SettledCost:
        """Return the cost of a finished request and settle its reservation.

        ``may_be_billed``: whether a request without usage may cost something: it was sent and not refused.
        """

        options = self._request.options if self._request else {}
        cost = calculate_cost(
            self._database,
            self._price_key,
            response.usage,
            (response.model, self._request.model if self._request else self._target.model),
            moment=self._started_at,
            context=price_context(options, self._processing),
            prices=self._prices,
        )
        if reservation is None:
            return SettledCost(cost)
        is_unknown = cost.amount is None and may_be_billed
        possible_cost = self._possible_cost(response, reservation) if is_unknown else None
        reservation.settle(cost.amount, possible_cost)
        return SettledCost(cost, True, possible_cost)

    def _possible_cost(self, response: ChatResponse, reservation: Reservation) -> float | None:
        """Return what a request without usage may have cost: its input, and the output that arrived.

        Never more than what was reserved.
        """
        from llmctl.engine.models.rates import max_response_tokens

        estimate = reservation.estimate
        output_tokens = min(max_response_tokens(response), estimate.output_tokens)
        cost = self._max_cost(reservation.price, estimate.input_tokens, output_tokens, with_files=True)
        return None if cost is None else min(cost, estimate.cost)

    def _max_cost(self, price: Price, input_tokens: int, output_tokens: int, with_files: bool) -> float | None:
        from llmctl.engine.models.rates import max_cost

        context = price_context(self._request.options if self._request else {}, self._processing)
        return max_cost(
            price, input_tokens, output_tokens, with_files=with_files, context=context, moment=self._started_at
        )


def cost_limits(settings: Mapping[str, Any], command: CommandBudget | None = None) -> CostLimits:
    """Return the limits of a command: those in the settings, and its own budget."""
    return CostLimits(command, settings.get("budget.day"), settings.get("budget.month"))


def unknown_price_error(provider: str, model: str) -> BudgetError:
    """Return the error for a request under a limit whose model has no price."""
    return BudgetError(
        f'not sent: there is a cost limit, but the price of "{model}" is unknown',
        hint=f"set its price: llmctl model price {provider}:{model} --set input=USD --set output=USD",
        reason="unknown_price",
    )


def unbounded_cost_error(option: str) -> BudgetError:
    """Return the error for a request under a limit whose cost has no upper bound."""
    return BudgetError(
        f'not sent: there is a cost limit, but the option "{option}" makes the cost unpredictable',
        hint=f"remove the option (-o {option}:=null), or --max-cost, budget.day and budget.month",
        reason="unbounded",
    )


def _list_files(messages: tuple[Message, ...]) -> Iterator[File]:
    yield from (part for message in messages for part in message.parts if isinstance(part, File))
