"""The costs of a turn's requests: set aside before one begins, told when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.core.errors import LlmctlError
from llmctl.core.messages import File, Message
from llmctl.engine.billing.limits import Caps
from llmctl.engine.connections.target import Target
from llmctl.engine.turn.state import Step
from llmctl.store.database import Database

if TYPE_CHECKING:  # what knows of prices is opened when the answer is there, or when a cap asks before
    from llmctl.engine.billing.budget import Reservation
    from llmctl.engine.billing.cost import Charge, Seller
    from llmctl.engine.billing.rates import Price


class Bill(NamedTuple):
    """What a request cost. ``held``: what stays set aside where it ran under a cap and nobody says what it cost."""

    charge: Charge
    was_capped: bool = False
    held: float | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of ``requests``."""
        return self.charge.columns() | ({"reserved_cost": self.held} if self.was_capped else {})


class Meter:
    """Tells what the requests of a turn cost, and keeps them under its caps."""

    def __init__(self, database: Database, target: Target, caps: Caps) -> None:
        self._database = database
        self._target = target
        self._caps = caps
        self._asked: ChatRequest | None = None
        self._began = datetime.now(UTC)

    @cached_property
    def _seller(self) -> Seller:
        from llmctl.engine.billing import cost as billing_cost

        return billing_cost.seller_of(self._target)

    def reservation(self, request: ChatRequest, body: Callable[[], bytes]) -> Reservation | None:
        """Return what has to be set aside for a request that begins now; None without a cap.

        ``body`` is what will be sent, without the content of files. Raises BudgetError where a cap is set and the
        price is not known.
        """
        self._asked, self._began = request, datetime.now(UTC)
        return self._reserved(request, body) if self._caps else None

    def _reserved(self, request: ChatRequest, body: Callable[[], bytes]) -> Reservation | None:
        from llmctl.engine.billing import budget, estimate
        from llmctl.engine.billing import cost as billing_cost

        price = billing_cost.price_for(self._database, self._seller, (request.model,), moment=self._began)
        if price is None:
            if self._seller.is_free:
                return None
            raise budget.unknown_price(self._target.provider.name, request.model)
        if option := estimate.unbounded(request.options):
            raise budget.unbounded(option)
        files = tuple(_files(request.messages))
        sent = body()
        tokens_in = estimate.input_tokens(sent, files, price.context_window)
        tokens_out = estimate.output_tokens(sent, price.context_window, price.max_output_tokens)
        cost, of_input = (self._most(price, tokens_in, tokens, bool(files)) for tokens in (tokens_out, 0))
        if cost is None or of_input is None:
            raise budget.unknown_price(self._target.provider.name, request.model)
        return budget.Reservation(self._caps, budget.Bound(tokens_in, tokens_out, cost, of_input), price)

    def release_dead(self) -> bool:
        """Free what dead processes set aside; say whether there was any."""
        from llmctl.engine.billing import budget

        return budget.release_dead(self._database)

    def bill(self, step: Step, response: ChatResponse, error: LlmctlError | None) -> Bill:
        """Return what a step cost, and settle what was set aside for it."""
        from llmctl.engine.billing import cost as billing_cost

        options = self._asked.options if self._asked else {}
        charge = billing_cost.charge(
            self._database,
            self._seller,
            response.usage,
            (response.model, self._asked.model if self._asked else self._target.model),
            moment=self._began,
            context=billing_cost.context_of(options),
        )
        if step.reservation is None:
            return Bill(charge)
        held = None if charge.cost is not None else self._maybe(step, response, error)
        step.reservation.settle(charge.cost, held)
        return Bill(charge, True, held)

    def _maybe(self, step: Step, response: ChatResponse, error: LlmctlError | None) -> float | None:
        """Return what a request without usage may have cost: its input and what came; None where it was refused."""
        reservation = step.reservation
        if reservation is None or not step.may_be_billed(error):
            return None
        return self._most(reservation.price, reservation.bound.input_tokens, came(response), with_files=True)

    def _most(self, price: Price, tokens_in: int, tokens_out: int, with_files: bool) -> float | None:
        from llmctl.engine.billing import cost as billing_cost
        from llmctl.engine.billing.rates import most

        context = billing_cost.context_of(self._asked.options if self._asked else {})
        return most(price, tokens_in, tokens_out, with_files=with_files, context=context, moment=self._began)


def came(response: ChatResponse) -> int:
    """Return the most tokens that the text, thinking and calls of a response can be."""
    message = response.message
    calls = (call.name + call.arguments for call in message.tool_calls)
    return len("".join((message.text, message.thinking, *calls)).encode("utf-8", "replace"))


def _files(messages: tuple[Message, ...]) -> Iterator[File]:
    yield from (part for message in messages for part in message.parts if isinstance(part, File))
