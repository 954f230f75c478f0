"""Cost limits: before a request begins, the most it may cost is reserved; its end settles the reservation.

Check and reservation share one write transaction with the beginning of the request, so that parallel processes cannot
exceed a limit together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.core.errors import BudgetError
from llmctl.core.messages import File, Message
from llmctl.engine.connections.target import Target
from llmctl.store.database import Database

if TYPE_CHECKING:  # prices are loaded once there is an answer, or a limit to check before
    from llmctl.engine.billing.cost import Cost, PriceKey
    from llmctl.engine.billing.rates import Price

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


class CostLimits(NamedTuple):
    """The limits that apply to a request, in US dollars. Days and months are UTC."""

    command: CommandBudget | None = None
    day: float | None = None
    month: float | None = None

    def __bool__(self) -> bool:
        return self.command is not None or self.day is not None or self.month is not None


class CostEstimate(NamedTuple):
    """The most tokens that a request may use, their cost, and the part of the cost that is input."""

    input_tokens: int
    output_tokens: int
    cost: float
    input_cost: float

    def token_counts(self) -> dict[str, int]:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


@dataclass(frozen=True, slots=True)
class Reservation:
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
        from llmctl.store.records import budgets

        now = clock.now()
        for name, limit, since in self._period_limits(now):
            spent, reserved = budgets.get_spending(database, since)
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
        """Suggest a limit for the answer that would fit; llmctl never shortens it by itself."""
        estimate = self.estimate
        output_cost = estimate.cost - estimate.input_cost
        per_token = output_cost / estimate.output_tokens if estimate.output_tokens else 0.0
        tokens = int((left - estimate.input_cost) / per_token) if per_token > 0 else 0
        return f"limit the answer: -o max_tokens={tokens}; or " if tokens >= 16 else ""


class SettledCost(NamedTuple):
    """The cost of a request; ``reserved_cost`` stays reserved if it ran under a limit and its cost is unknown."""

    cost: Cost
    was_limited: bool = False
    reserved_cost: float | None = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return self.cost.to_columns() | ({"reserved_cost": self.reserved_cost} if self.was_limited else {})


class CostTracker:
    """Calculates the cost of a turn's requests and keeps them within its limits."""

    def __init__(self, database: Database, target: Target, limits: CostLimits) -> None:
        self._database = database
        self._target = target
        self._limits = limits
        self._request: ChatRequest | None = None
        self._started_at = datetime.now(UTC)

    @cached_property
    def _price_key(self) -> PriceKey:
        from llmctl.engine.billing import cost as billing_cost

        return billing_cost.price_key(self._target)

    def prepare_reservation(self, request: ChatRequest, build_body: Callable[[], bytes]) -> Reservation | None:
        """Return what has to be reserved for a request that begins now; None if there is no limit.

        ``build_body`` returns the body without the content of files. Raises BudgetError if there is a limit and the
        price is unknown.
        """
        self._request, self._started_at = request, datetime.now(UTC)
        return self._build_reservation(request, build_body) if self._limits else None

    def _build_reservation(self, request: ChatRequest, build_body: Callable[[], bytes]) -> Reservation | None:
        from llmctl.engine.billing import cost as billing_cost
        from llmctl.engine.billing import estimate

        price = billing_cost.find_price(self._database, self._price_key, (request.model,), moment=self._started_at)
        if price is None:
            if self._price_key.is_free:
                return None
            raise unknown_price_error(self._target.provider.name, request.model)
        if option := estimate.find_unbounded_option(request.options):
            raise unbounded_cost_error(option)
        files = tuple(_list_files(request.messages))
        body = build_body()
        input_tokens = estimate.max_input_tokens(body, files, price.context_window)
        output_tokens = estimate.max_output_tokens(body, price.context_window, price.max_output_tokens)
        cost, input_cost = (self._max_cost(price, input_tokens, count, bool(files)) for count in (output_tokens, 0))
        if cost is None or input_cost is None:
            raise unknown_price_error(self._target.provider.name, request.model)
        return Reservation(self._limits, CostEstimate(input_tokens, output_tokens, cost, input_cost), price)

    def settle_cost(
        self, response: ChatResponse, reservation: Reservation | None, *, may_be_billed: bool
    ) -> SettledCost:
        """Return the cost of a finished request and settle its reservation.

        ``may_be_billed`` tells whether a request without usage may cost something: it was sent and not refused.
        """
        from llmctl.engine.billing import cost as billing_cost

        options = self._request.options if self._request else {}
        cost = billing_cost.calculate_cost(
            self._database,
            self._price_key,
            response.usage,
            (response.model, self._request.model if self._request else self._target.model),
            moment=self._started_at,
            context=billing_cost.price_context(options),
        )
        if reservation is None:
            return SettledCost(cost)
        is_unknown = cost.amount is None and may_be_billed
        possible_cost = self._possible_cost(response, reservation) if is_unknown else None
        reservation.settle(cost.amount, possible_cost)
        return SettledCost(cost, True, possible_cost)

    def _possible_cost(self, response: ChatResponse, reservation: Reservation) -> float | None:
        """Return what a request without usage may have cost: its input, and the output that arrived."""
        from llmctl.engine.billing.estimate import max_response_tokens

        input_tokens, output_tokens = reservation.estimate.input_tokens, max_response_tokens(response)
        return self._max_cost(reservation.price, input_tokens, output_tokens, with_files=True)

    def _max_cost(self, price: Price, input_tokens: int, output_tokens: int, with_files: bool) -> float | None:
        from llmctl.engine.billing import cost as billing_cost
        from llmctl.engine.billing.rates import max_cost

        context = billing_cost.price_context(self._request.options if self._request else {})
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
