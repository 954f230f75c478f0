"""How fast a job sends: as many requests at once as its host bears, learned from its answers, shared by all threads.

Additive increase, multiplicative decrease (https://en.wikipedia.org/wiki/Additive_increase/multiplicative_decrease):
the number of requests at once doubles as long as that brings more answers a second, is halved by a 429, and grows by
one a round from then on. Nobody sends while the host asks to wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from threading import Condition
from typing import Any

from llmctl.core.errors import LlmctlError
from llmctl.core.signals import Interrupted
from llmctl.core.values import Value
from llmctl.transport.retry import RetryPolicy
from llmctl.wire.rate_limits import LimitKind, parse_rate_limits

#: Requests at once with ``-P auto``: at first, and at most.
START_PARALLEL = 8
MAX_PARALLEL = 64
#: Answers that show how fast a number of requests at once is, and how much faster twice as many must be.
_MIN_STAGE_ANSWERS = 16
_WORTHWHILE = 1.15
#: How often a row waits out a rate limit, and the longest wait that a host may ask for, in seconds.
_MAX_RATE_LIMITS = 30
_MAX_RETRY_AFTER_S = 900.0
#: Waits that we choose: the first one and the longest, in seconds.
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
#: The longest wait for a counter of the host to fill: a 429 tells better how long it is.
_MAX_HOLD_S = 60.0


class PaceOptions(Value):
    """What the user chose. ``parallel`` is None for ``auto``; ``rpm`` and ``tpm`` are requests and tokens a minute."""

    parallel: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    retries: int = 2
    #: Requests at once with ``auto``, at first.
    start: int = START_PARALLEL


class _Allowance:
    """So much a minute, evenly: what one takes, the next ones wait for."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / 60
        self._free_at = 0.0

    def wait_s(self, now: float) -> float:
        return self._free_at - now

    def take(self, amount: float, now: float) -> None:
        self._free_at = max(self._free_at, now) + amount / self._per_s


class SharedPace:
    """Lets threads send, and makes them wait."""

    def __init__(self, options: PaceOptions) -> None:
        self._options = options
        self._is_growing = options.parallel is None
        #: Requests at once, as a fraction while it grows slowly.
        self._limit = float(options.parallel or options.start)
        #: While it grows: when it reached the present limit, answers since, and answers a second before that.
        self._stage_at = time.monotonic()
        self._stage_answers = 0
        self._last_rate = 0.0
        self._ceiling = float(options.parallel or MAX_PARALLEL)
        self._running = 0
        self._paused_until = 0.0
        self._pauses = 0
        self._halved_at = 0.0
        self._allowances: dict[LimitKind, _Allowance] = {}
        if options.rpm:
            self._allowances["requests"] = _Allowance(options.rpm)
        if options.tpm:
            self._allowances["tokens"] = _Allowance(options.tpm)
        #: Mean tokens of a request, as learned.
        self._mean_tokens = 0.0
        self._is_stopped = False
        self._changed = Condition()

    @property
    def parallel(self) -> int:
        """How many requests may run at once."""
        return max(1, int(self._limit))

    def stop(self) -> None:
        """Let nobody send any more: who waits gets :class:`Interrupted`."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def enter(self, input_tokens: int) -> None:
        """Wait for the permission to send one request. Raises Interrupted once stopped."""
        with self._changed:
            while True:
                if self._is_stopped:
                    raise Interrupted
                now = time.monotonic()
                if self._running >= self.parallel:
                    self._changed.wait()
                elif (wait_s := self._next_wait_s(now)) > 0:
                    self._changed.wait(wait_s)
                else:
                    break
            self._running += 1
            for kind, allowance in self._allowances.items():
                allowance.take(1 if kind == "requests" else max(input_tokens, self._mean_tokens), now)

    def leave(self, *, is_answered: bool, tokens: int | None) -> None:
        """Report the end of a request."""
        with self._changed:
            self._running -= 1
            if is_answered:
                self._pauses = 0
                self._grow()
            if tokens:
                self._mean_tokens += (tokens - self._mean_tokens) / 20
            self._changed.notify_all()

    def _grow(self) -> None:
        if not self._is_growing:
            self._limit = min(self._ceiling, self._limit + 1.0 / self._limit)
            return
        self._stage_answers += 1
        if self._stage_answers < max(_MIN_STAGE_ANSWERS, 2 * self._limit):
            return
        now = time.monotonic()
        rate = self._stage_answers / max(now - self._stage_at, 1e-6)
        if rate < _WORTHWHILE * self._last_rate:
            self._ceiling = self._limit = max(1.0, self._limit / 2)
            self._is_growing = False
            return
        self._last_rate, self._stage_at, self._stage_answers = rate, now, 0
        self._limit = min(self._ceiling, self._limit * 2)
        self._is_growing = self._limit < self._ceiling

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in what a response says of the host's limits: the next ones wait until it has room for them."""
        if not any("ratelimit" in name for name in headers):
            return
        with self._changed:
            needed: Mapping[Any, float] = {"requests": 1.0, "tokens": max(1.0, self._mean_tokens)}
            waits = (limit.wait_s(needed[limit.kind]) for limit in parse_rate_limits(headers))
            if hold_s := min(_MAX_HOLD_S, max(waits, default=0.0)):
                self._paused_until = max(self._paused_until, time.monotonic() + hold_s)

    def pause(self, sent_at: float, retry_after_s: float | None) -> float:
        """Halve the pace after a 429 of a request sent at that time, and return the seconds that everybody waits.

        Of many requests that were under way together, one halves it.
        """
        with self._changed:
            now = time.monotonic()
            if sent_at >= self._halved_at:
                self._limit = max(1.0, self._limit / 2)
                self._is_growing = False
                self._halved_at = now
                self._pauses += 1
            pause_s = retry_after_s or min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 16))
            pause_s *= 1 + random.random() / 10
            self._paused_until = max(self._paused_until, now + pause_s)
            return self._paused_until - now

    def wait(self, seconds: float) -> None:
        """Wait, without the right to send meanwhile. Raises Interrupted once stopped."""
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped, max(0.0, until - time.monotonic()))
            if self._is_stopped:
                raise Interrupted

    def _next_wait_s(self, now: float) -> float:
        return max(self._paused_until - now, *(allowance.wait_s(now) for allowance in self._allowances.values()), 0.0)


class RowPacer:
    """Decides about the attempts of one row: a rate limit concerns all rows, other failures this one."""

    def __init__(self, pace: SharedPace, options: PaceOptions, input_tokens: int) -> None:
        self._pace = pace
        self._policy = RetryPolicy(retries=options.retries)
        self._input_tokens = input_tokens
        self._sent_at = 0.0
        self._may_send = False
        self._rate_limits = 0

    def start(self) -> None:
        """Wait for the permission to send. Raises Interrupted once the job stops."""
        self._pace.enter(self._input_tokens)
        self._may_send, self._sent_at = True, time.monotonic()

    def finish(self, *, is_answered: bool, tokens: int | None = None) -> None:
        """Give the permission back, if there is one."""
        if self._may_send:
            self._may_send = False
            self._pace.leave(is_answered=is_answered, tokens=tokens)

    def retry_delay_s(self, number: int, error: LlmctlError) -> float | None:
        """Return the seconds before the next attempt; None to give up."""
        if error.reason != "rate_limit":
            return self._policy.delay_s(number - self._rate_limits, error.retry_after)
        self._rate_limits += 1
        if self._rate_limits > _MAX_RATE_LIMITS or (error.retry_after or 0.0) > _MAX_RETRY_AFTER_S:
            return None
        return self._pace.pause(self._sent_at, error.retry_after)

    def wait(self, seconds: float) -> None:
        """Wait before the next attempt, and for the permission to send it."""
        self.finish(is_answered=False)
        self._pace.wait(seconds)
        self.start()
