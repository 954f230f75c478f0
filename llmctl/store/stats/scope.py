"""What ``stats`` counts, and how a range of time falls into whole months, days and hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from llmctl.core import clock

Unit = Literal["month", "day", "hour"]

#: How a unit's beginning is written: so many characters of a time, and these.
_BEGINNINGS = {
    "month": (7, "-01T00:00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "hour": (13, ":00:00.000+00:00"),
}
#: Longer than the unit, and shorter than two of it.
_MORE_THAN = {"month": timedelta(days=32), "day": timedelta(hours=25), "hour": timedelta(minutes=61)}


class Scope(NamedTuple):
    """What is counted: all that is set must hold. ``since`` is inclusive, ``until`` exclusive.

    Agents and connections go by name in the ledger, which outlives them; by id among the chats.
    """

    chat_id: str | None = None
    agent: str | None = None
    agent_id: str | None = None
    connection: str | None = None
    connection_id: str | None = None
    since: str | None = None
    until: str | None = None

    def between(self, time: str) -> list[str]:
        """Return the conditions that keep a column within the range of time."""
        return [f"{time} >= :since"] * bool(self.since) + [f"{time} < :until"] * bool(self.until)

    def parts(self, units: Sequence[Unit]) -> Iterator[tuple[Unit | None, Scope]]:
        """Cut the range into whole units, the longest first (``units`` is in that order), and the rest: None."""
        if not units:
            yield None, self
            return
        unit, finer = units[0], units[1:]
        since = _next(self.since, unit) if self.since else None
        until = _beginning(self.until, unit) if self.until else None
        if since and until and since >= until:
            yield from self.parts(finer)
            return
        if since != self.since:
            yield from self._replace(until=since).parts(finer)
        yield unit, self._replace(since=since, until=until)
        if until != self.until:
            yield from self._replace(since=until).parts(finer)


def _beginning(time: str, unit: Unit) -> str:
    length, rest = _BEGINNINGS[unit]
    return time[:length] + rest


def _next(time: str, unit: Unit) -> str:
    """Return the first beginning of a unit at or after a time."""
    start = _beginning(time, unit)
    return start if start == time else _beginning(clock.stored(clock.parsed(start) + _MORE_THAN[unit]), unit)
