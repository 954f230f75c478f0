"""The pace of a map: halved by a 429, once for requests that were under way together, and growing again."""

from __future__ import annotations

import time

import pytest

from llmctl.core.errors import UnavailableError
from llmctl.core.signals import Interrupted
from llmctl.engine.bulk.pace import PaceOptions, RowPacer, SharedPace


def rate_limit(retry_after: float | None) -> UnavailableError:
    return UnavailableError("slow down", reason="rate_limit", retry_after=retry_after)


def test_rate_limit_halves_once_and_makes_everybody_wait() -> None:
    options = PaceOptions(parallel=16)
    pace = SharedPace(options)
    pacers = [RowPacer(pace, options, 0) for _ in range(4)]
    for pacer in pacers:
        pacer.start()
    delays = [pacer.retry_delay_s(1, rate_limit(5.0)) for pacer in pacers]
    assert pace.parallel == 8
    assert all(delay and 4.9 < delay < 6 for delay in delays)
    assert pace._next_wait_s(time.monotonic()) > 4.9


def test_answers_let_it_grow_again_up_to_what_was_chosen() -> None:
    options = PaceOptions(parallel=4)
    pace = SharedPace(options)
    pace.pause(time.monotonic(), 0.001)
    assert pace.parallel == 2
    for _ in range(100):
        pace.leave(is_answered=True, tokens=None)
    assert pace.parallel == 4


def test_other_failures_count_against_retries_and_rate_limits_do_not() -> None:
    options = PaceOptions(parallel=1, retries=1)
    pacer = RowPacer(SharedPace(options), options, 0)
    assert pacer.retry_delay_s(1, rate_limit(0.01)) is not None
    assert pacer.retry_delay_s(2, rate_limit(0.01)) is not None
    assert pacer.retry_delay_s(3, UnavailableError("broken")) is not None
    assert pacer.retry_delay_s(4, UnavailableError("broken")) is None
    assert pacer.retry_delay_s(5, rate_limit(7200.0)) is None  # a quota of hours


def test_requests_a_minute_are_spaced() -> None:
    pace = SharedPace(PaceOptions(parallel=8, rpm=60))
    pace.enter(0)
    assert 0.9 < pace._next_wait_s(time.monotonic()) <= 1.0


def test_nobody_sends_once_stopped() -> None:
    pace = SharedPace(PaceOptions(parallel=1))
    pace.stop()
    with pytest.raises(Interrupted):
        pace.enter(0)
