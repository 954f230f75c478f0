"""The delay before a retry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/."""

    #: Attempts after the first one.
    retries: int = 2
    #: Upper bound of the first delay; it doubles with each attempt.
    base_delay_s: float = 0.5
    #: Lower bound of the first delay after a rate limit without a requested wait; it doubles, too: limits are counted
    #: by the minute, so that a second is rarely enough.
    rate_limit_delay_s: float = 3.0
    #: Upper bound of every delay that we choose.
    max_delay_s: float = 30.0
    #: Longest wait that a server may request; beyond it we give up.
    max_retry_after_s: float = 60.0

    def delay_s(
        self,
        attempt: int,
        retry_after: float | None = None,
        *,
        is_rate_limit: bool = False,
        uniform: Callable[[], float] | None = None,
    ) -> float | None:
        """Return the seconds to wait after failed attempt number ``attempt`` (from 1); None to give up.

        ``uniform`` returns numbers in [0, 1). A wait requested by the server is extended by up to ``base_delay_s``,
        so that many processes with the same request do not retry at once.
        """
        if attempt > self.retries or (retry_after or 0.0) > self.max_retry_after_s:
            return None
        from random import random  # only needed for a retry

        jitter = (uniform or random)()
        if retry_after:
            return retry_after + self.base_delay_s * jitter
        growth = 2.0 ** min(attempt - 1, 64)
        if is_rate_limit and retry_after is None:  # half of it is fixed: full jitter could retry at once
            return min(self.max_delay_s, self.rate_limit_delay_s * growth * (1 + jitter))
        return min(self.max_delay_s, self.base_delay_s * growth) * jitter
