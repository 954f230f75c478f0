"""Caps that hold: before a request begins, the most it may cost is set aside; its end settles that.

Check and reservation are one write transaction with the beginning of the request, so that parallel processes cannot
overshoot together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import BudgetError
from llmctl.core.humanize import dollars
from llmctl.engine.billing.limits import Caps
from llmctl.engine.billing.rates import Price
from llmctl.engine.jobs import lease
from llmctl.store.database import Database
from llmctl.store.records import budgets

#: Sums of binary fractions end in noise.
_NOISE = 1e-12


class Bound(NamedTuple):
    """The most tokens that a request can come to, what they cost, and what the input alone costs of that."""

    input_tokens: int
    output_tokens: int
    cost: float
    input_cost: float

    def tokens(self) -> dict[str, int]:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for one request."""

    caps: Caps
    bound: Bound
    price: Price

    def columns(self) -> dict[str, Any]:
        """Return the columns of a request that begins."""
        return {"reserved_cost": self.bound.cost, "price_id": self.price.id}

    def take(self, database: Database) -> None:
        """Make sure that the request fits under every cap; within the transaction that begins it.

        Raises BudgetError where it does not: nothing was sent.
        """
        now = clock.now()
        for name, limit, since in self._periods(now):
            spent, set_aside = budgets.used(database, since)
            if spent + set_aside + self.bound.cost > limit + _NOISE:
                raise self._refusal(f'"{name}"', limit, limit - spent - set_aside, f"llmctl settings set {name} USD")
        purse = self.caps.purse
        if purse is not None and not purse.take(self.bound.cost):
            raise self._refusal('"--max-cost"', purse.limit, purse.left, "--max-cost USD")

    def give_back(self) -> None:
        """Put back what :meth:`take` took from the command's purse: the request did not begin."""
        if self.caps.purse is not None:
            self.caps.purse.settle(self.bound.cost, 0.0)

    def settle(self, cost: float | None, held: float | None) -> None:
        """Count in what the request cost: what is known, else what it may have been."""
        if self.caps.purse is not None:
            known = cost if cost is not None else held
            self.caps.purse.settle(self.bound.cost, known or 0.0)

    def _periods(self, now: str) -> Iterator[tuple[str, float, str]]:
        if self.caps.day is not None:
            yield "budget.day", self.caps.day, f"{now[:10]}T00:00:00.000+00:00"
        if self.caps.month is not None:
            yield "budget.month", self.caps.month, f"{now[:7]}-01T00:00:00.000+00:00"

    def _refusal(self, name: str, limit: float, left: float, raised: str) -> BudgetError:
        bound = self.bound
        return BudgetError(
            f"not sent: it may cost up to {dollars(bound.cost)} ({bound.input_tokens} tokens in,"
            f" {bound.output_tokens} out), and of the {dollars(limit)} of {name} {dollars(max(0.0, left))} is left",
            hint=self._smaller(left) + f"raise the cap with: {raised}",
            reason="max_cost" if "max" in name else name.strip('"').replace(".", "_"),
        )

    def _smaller(self, left: float) -> str:
        """Return the hint at a shorter answer, where one would fit; it is not for us to cut it."""
        bound = self.bound
        each = (bound.cost - bound.input_cost) / bound.output_tokens if bound.output_tokens else 0.0
        tokens = int((left - bound.input_cost) / each) if each > 0 else 0
        return f"allow a shorter answer with: -o max_tokens={tokens}; or " if tokens >= 16 else ""


def unknown_price(provider: str, model: str) -> BudgetError:
    """Return the refusal of a request under a cap whose model has no price."""
    return BudgetError(
        f'not sent: a cap is set, and the price of "{model}" is not known',
        hint=f"say what a million tokens cost: llmctl model price {provider}:{model} --set input=USD --set output=USD",
        reason="unknown_price",
    )


def unbounded(option: str) -> BudgetError:
    """Return the refusal of a request under a cap whose cost nobody here can bound."""
    return BudgetError(
        f'not sent: a cap is set, and with the option "{option}" nobody can tell what it may cost',
        hint=f"leave it out (-o {option}:=null), or ask without --max-cost, budget.day and budget.month",
        reason="unbounded",
    )


def release_dead(database: Database) -> bool:
    """Finish the requests of dead processes that have something set aside; say whether there were such."""
    from llmctl.engine.jobs import recovery  # which counts what is set aside here

    dead = [job for job in budgets.holders(database) if not lease.is_alive(job)]
    for job in dead:
        recovery.recover_job(database, job)
    return bool(dead)
