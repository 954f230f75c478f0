"""What one command may spend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from llmctl.engine.billing.limits import Caps, Purse, caps


def test_purse_takes_what_fits_and_settles_what_it_cost():
    purse = Purse(1.0)
    assert purse.take(0.7)
    assert not purse.take(0.4)
    purse.settle(0.7, 0.1)
    assert purse.left == 0.9
    assert purse.take(0.9)
    assert not purse.take(0.01)


def test_threads_do_not_take_more_together_than_there_is():
    purse = Purse(10.0)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: purse.take(1.0), range(40)))
    assert taken.count(True) == 10


def test_no_cap_is_no_cap_and_0_is_one():
    assert not Caps()
    assert not caps({})
    assert caps({"budget.day": 0})
    assert Caps(Purse(0.0))
