"""What a response says of its host's rate limits, as each host says it.

Seen in recorded responses: OpenAI (and xAI, Groq) ``x-ratelimit-remaining-requests`` with resets such as ``6m0s``;
Azure the same names with bare seconds; Anthropic ``anthropic-ratelimit-requests-remaining`` with resets as RFC 3339
instants; Mistral ``x-ratelimit-remaining-req-minute`` without resets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from llmctl.core.values import Value

LimitKind = Literal["requests", "tokens"]

#: What each counter counts, and its headers for limit, remaining and reset; without reset it counts by the minute.
_COUNTERS: tuple[tuple[LimitKind, str, str, str], ...] = (
    ("requests", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("tokens", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    (
        "requests",
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "tokens",
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    (
        "tokens",
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "tokens",
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
    ("requests", "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute", ""),
    ("tokens", "x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute", ""),
)
_MINUTE_S = 60.0
#: Larger limits are none: xAI sends 2**63 - 1.
_MAX_LIMIT = 10**12
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


class RateLimit(Value):
    """One counter of a host: what is left of it, and how it fills again."""

    kind: LimitKind
    remaining: float
    limit: float | None
    #: Seconds until it is full again; None if the host does not say.
    reset_s: float | None
    #: It fills at once at its reset, instead of continuously.
    is_window: bool

    def wait_s(self, needed: float) -> float:
        """Return the seconds until so much is left; 0 if it is now."""
        missing = needed - self.remaining
        if missing <= 0:
            return 0.0
        if self.is_window and self.reset_s is not None:
            return self.reset_s
        used = (self.limit or 0.0) - self.remaining
        if self.reset_s is not None and used > 0:
            return min(self.reset_s, self.reset_s * missing / used)
        if self.limit:
            return min(_MINUTE_S, _MINUTE_S * missing / self.limit)
        return self.reset_s or 0.0


def parse_rate_limits(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> list[RateLimit]:
    """Return the counters in the headers (names in lower case) of a response."""
    return list(_iter_limits(headers, now))


def _iter_limits(headers: Mapping[str, str], now: Callable[[], float]) -> Iterator[RateLimit]:
    for kind, limit_name, remaining_name, reset_name in _COUNTERS:
        remaining = _parse_number(headers.get(remaining_name))
        if remaining is None or remaining > _MAX_LIMIT:
            continue
        reset = headers.get(reset_name) if reset_name else None
        limit = _parse_number(headers.get(limit_name))
        yield RateLimit(kind, remaining, limit, _parse_reset(reset, now), _parse_number(reset) is not None)


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _parse_reset(text: str | None, now: Callable[[], float]) -> float | None:
    """Return the seconds in a reset: bare, as a duration, or as an instant."""
    if not text or (seconds := _parse_number(text)) is not None:
        return seconds if text else None
    found = _DURATION.fullmatch(text)
    if found and any(found.groups()):
        days, hours, minutes, whole, ms = (_parse_number(group) or 0.0 for group in found.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + whole + ms / 1000
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now())
    return None
