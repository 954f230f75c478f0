"""The arithmetic of trying again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmctl.transport.retry import RetryPolicy


def test_wait_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(retries=10)
    waits = [policy.delay_s(attempt, uniform=lambda: 1.0) for attempt in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_wait_is_any_part_of_its_bound() -> None:
    assert RetryPolicy().delay_s(1, uniform=lambda: 0.0) == 0.0
    assert RetryPolicy().delay_s(2, uniform=lambda: 0.25) == 0.25


@given(st.integers(1, 10_000))
def test_wait_of_its_own_accord_stays_within_bounds(attempt: int) -> None:
    wait = RetryPolicy(retries=10_000).delay_s(attempt)
    assert wait is not None
    assert 0 <= wait < 30


def test_last_attempt_is_followed_by_none() -> None:
    policy = RetryPolicy(retries=2)
    assert policy.delay_s(2) is not None
    assert policy.delay_s(3) is None
    assert RetryPolicy(retries=0).delay_s(1) is None


def test_retry_after_is_respected_with_jitter() -> None:
    assert RetryPolicy().delay_s(1, 7.0, uniform=lambda: 0.0) == 7.0
    assert RetryPolicy().delay_s(1, 7.0, uniform=lambda: 0.5) == 7.25
    assert RetryPolicy().delay_s(1, 60.0) is not None


def test_retry_after_beyond_the_limit_is_given_up() -> None:
    assert RetryPolicy().delay_s(1, 61.0) is None
    assert RetryPolicy(max_retry_after_s=100).delay_s(1, 61.0) is not None


def test_retry_after_zero_uses_the_default_delay() -> None:
    assert RetryPolicy().delay_s(1, 0.0, uniform=lambda: 1.0) == 0.5


def test_a_rate_limit_waits_longer_than_a_failing_server() -> None:
    policy = RetryPolicy(retries=6)

    def waits(jitter: float, *, is_rate_limit: bool) -> list[float | None]:
        return [policy.delay_s(n, is_rate_limit=is_rate_limit, uniform=lambda: jitter) for n in range(1, 7)]

    assert waits(0.0, is_rate_limit=True) == [3, 6, 12, 24, 30, 30]
    assert waits(1.0, is_rate_limit=True) == [6, 12, 24, 30, 30, 30]
    assert waits(1.0, is_rate_limit=False) == [0.5, 1, 2, 4, 8, 16]


def test_a_rate_limit_that_names_its_wait_is_obeyed() -> None:
    assert RetryPolicy().delay_s(1, 1.0, is_rate_limit=True, uniform=lambda: 0.0) == 1.0
    assert RetryPolicy().delay_s(1, 0.0, is_rate_limit=True, uniform=lambda: 1.0) == 0.5
    assert RetryPolicy().delay_s(3, is_rate_limit=True) is None
