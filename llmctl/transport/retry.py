"""When to try again: arithmetic only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass


def _uniform() -> float:
    # By hand: the ``random`` module costs start-up time.
    return int.from_bytes(os.urandom(4), "big") / 2**32


@dataclass(frozen=True, slots=True)
class Policy:
    """Exponential backoff with full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/."""

    #: Attempts after the first.
    retries: int = 2
    #: Upper bound of the first wait in seconds; it doubles with each attempt.
    base: float = 0.5
    #: Upper bound of all waits of our own choosing.
    cap: float = 30.0
    #: The longest wait a server may ask for; asked to wait longer, we give up.
    patience: float = 60.0

    def delay(
        self, attempt: int, retry_after: float | None = None, *, uniform: Callable[[], float] = _uniform
    ) -> float | None:
        """Return the seconds to wait after failed attempt number ``attempt`` (from 1), None to give up.

        ``uniform`` gives numbers in [0, 1). A server's wait is kept to and spread by up to ``base``, so that many
        processes told the same do not come back at once.
        """
        if attempt > self.retries or (retry_after or 0.0) > self.patience:
            return None
        if retry_after:
            return retry_after + self.base * uniform()
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 64)) * uniform()
