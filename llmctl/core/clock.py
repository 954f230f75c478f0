"""Time as the hub stores it: UTC text with three digits and ``+00:00`` (never ``Z``: Prisma would not sort it)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_FORMAT = "%Y-%m-%dT%H:%M:%S"


def now() -> str:
    """Return the current time, such as ``2026-01-02T03:04:05.678+00:00``."""
    return from_unix(time.time())


def from_unix(seconds: float) -> str:
    """Return the stored form of a Unix time in seconds."""
    whole, ms = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime(_FORMAT, time.gmtime(whole))}.{ms:03d}+00:00"


def format(moment: datetime) -> str:
    """Return the stored form of an aware datetime."""
    moment = moment.astimezone(UTC)
    return f"{moment.strftime(_FORMAT)}.{moment.microsecond // 1000:03d}+00:00"


def parse(text: str) -> datetime:
    """Return a stored time (or any ISO 8601 text; UTC if it has no zone) as a datetime."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def add_seconds(text: str, seconds: float) -> str:
    """Return a stored time shifted by a number of seconds."""
    return format(parse(text) + timedelta(seconds=seconds))


def elapsed_ms(since: float) -> int:
    """Return whole milliseconds since a ``time.monotonic()`` reading, at least 1 (a duration of 0 means unknown)."""
    return max(1, round((time.monotonic() - since) * 1000))
