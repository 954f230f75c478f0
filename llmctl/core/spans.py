"""The hours, days and months of a range, by the names that ``stats --group-by`` gives them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from llmctl.core import clock

_STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=27)}
_LENGTHS = {"day": 10, "month": 7}


def names(begin: datetime, end: datetime, unit: Literal["hour", "day", "month"], zone: tzinfo | None) -> Iterator[str]:
    """Yield the name of each hour, day or month from ``begin`` up to ``end`` (at least one), as clocks in a zone say.

    A month may come twice.
    """
    at = begin
    while True:
        yield name(at, unit, zone)
        at += _STEPS[unit]
        if at >= end:
            break
    if unit != "hour" and end > begin:
        yield name(end - timedelta(milliseconds=1), unit, zone)


def name(at: datetime, unit: Literal["hour", "day", "month"], zone: tzinfo | None) -> str:
    """Return the name of the hour, day or month of a moment."""
    local = at.astimezone(zone or UTC)
    if unit == "hour":
        return local.strftime("%Y-%m-%dT%H:00:00.000") + local.isoformat()[-6:]
    return local.strftime("%Y-%m-%d")[: _LENGTHS[unit]]


def beginning(name: str, zone: tzinfo | None) -> datetime:
    """Return the moment at which an hour, day or month of that name begins."""
    if len(name) > 10:
        return clock.parsed(name)
    return datetime.fromisoformat(f"{name}-01"[:10]).replace(tzinfo=zone or UTC)
