"""The arithmetic of trying again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmctl.transport.retry import Policy


def test_wait_doubles_up_to_the_cap() -> None:
    policy = Policy(retries=10)
    waits = [policy.delay(attempt, uniform=lambda: 1.0) for attempt in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_wait_is_any_part_of_its_bound() -> None:
    assert Policy().delay(1, uniform=lambda: 0.0) == 0.0
    assert Policy().delay(2, uniform=lambda: 0.25) == 0.25


@given(st.integers(1, 10_000))
def test_wait_of_its_own_accord_stays_within_bounds(attempt: int) -> None:
    wait = Policy(retries=10_000).delay(attempt)
    assert wait is not None
    assert 0 <= wait < 30


def test_last_attempt_is_followed_by_none() -> None:
    policy = Policy(retries=2)
    assert policy.delay(2) is not None
    assert policy.delay(3) is None
    assert Policy(retries=0).delay(1) is None


def test_wait_a_server_asks_for_is_kept_and_spread() -> None:
    assert Policy().delay(1, 7.0, uniform=lambda: 0.0) == 7.0
    assert Policy().delay(1, 7.0, uniform=lambda: 0.5) == 7.25
    assert Policy().delay(1, 60.0) is not None


def test_wait_beyond_patience_is_given_up() -> None:
    assert Policy().delay(1, 61.0) is None
    assert Policy(patience=100).delay(1, 61.0) is not None


def test_wait_of_nothing_is_ours_to_choose() -> None:
    assert Policy().delay(1, 0.0, uniform=lambda: 1.0) == 0.5
