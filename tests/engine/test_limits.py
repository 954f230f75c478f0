"""What one command may spend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from llmctl.engine.billing.cost import CommandBudget, CostLimits, cost_limits


def test_budget_reserves_what_fits_and_settles_the_cost() -> None:
    purse = CommandBudget(1.0)
    assert purse.reserve(0.7)
    assert not purse.reserve(0.4)
    purse.settle(0.7, 0.1)
    assert purse.left == 0.9
    assert purse.reserve(0.9)
    assert not purse.reserve(0.01)


def test_threads_do_not_take_more_together_than_there_is() -> None:
    purse = CommandBudget(10.0)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: purse.reserve(1.0), range(40)))
    assert taken.count(True) == 10


def test_no_cap_is_no_cap_and_0_is_one() -> None:
    assert not CostLimits()
    assert not cost_limits({})
    assert cost_limits({"budget.day": 0})
    assert CostLimits(CommandBudget(0.0))
