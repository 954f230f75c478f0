"""The scope of ``stats``, and how a time range splits into whole months, days and hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from llmctl.core import clock

Unit = Literal["month", "day", "hour"]

#: Start of a unit: length of the prefix of a time, and the suffix that completes it.
_UNIT_STARTS = {
    "month": (7, "-01T00:00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "hour": (13, ":00:00.000+00:00"),
}
#: Longer than one unit, shorter than two.
_MORE_THAN = {"month": timedelta(days=32), "day": timedelta(hours=25), "hour": timedelta(minutes=61)}


class Scope(NamedTuple):
    """What to count; all conditions that are set must hold. ``since`` is inclusive, ``until`` exclusive.

    Agents and connections are identified by name in the ledger, which outlives them, and by id in chats.
    """

    chat_id: str | None = None
    agent: str | None = None
    agent_id: str | None = None
    connection: str | None = None
    connection_id: str | None = None
    since: str | None = None
    until: str | None = None

    def time_conditions(self, time: str) -> list[str]:
        """Return the SQL conditions that limit a column to the time range."""
        return [f"{time} >= :since"] * bool(self.since) + [f"{time} < :until"] * bool(self.until)

    def split(self, units: Sequence[Unit]) -> Iterator[tuple[Unit | None, Scope]]:
        """Split the range into whole units, longest first as in ``units``, and the rest (None)."""
        if not units:
            yield None, self
            return
        unit, finer = units[0], units[1:]
        since = _next_unit_start(self.since, unit) if self.since else None
        until = _unit_start(self.until, unit) if self.until else None
        if since and until and since >= until:
            yield from self.split(finer)
            return
        if since != self.since:
            yield from self._replace(until=since).split(finer)
        yield unit, self._replace(since=since, until=until)
        if until != self.until:
            yield from self._replace(since=until).split(finer)


def _unit_start(time: str, unit: Unit) -> str:
    length, rest = _UNIT_STARTS[unit]
    return time[:length] + rest


def _next_unit_start(time: str, unit: Unit) -> str:
    """Return the first start of a unit at or after a time."""
    start = _unit_start(time, unit)
    return start if start == time else _unit_start(clock.format(clock.parse(start) + _MORE_THAN[unit]), unit)
