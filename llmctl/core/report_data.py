"""What a report shows, as values: between the engine, which counts, and the format, which draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

#: The fields of ``stats --json``.
Figures = Mapping[str, Any]
Row = Mapping[str, Any]
Unit = Literal["hour", "day", "month"]


class Group(NamedTuple):
    """What belongs together, under its name (None: it has none), and its figures."""

    name: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Range:
    """Which time is reported. Stored times; ``None`` is open. ``unit`` is the step of the charts."""

    since: str | None
    until: str | None
    zone: tzinfo | None
    zone_name: str
    unit: Unit
    written_at: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """All numbers of a report. Groups of time ascend without gaps; others begin with the dearest or busiest."""

    hub: str
    range: Range
    total: Figures
    #: The same of as much time before; None where the range has no beginning.
    before: Figures | None
    moments: Sequence[Group]
    #: (moment, model) -> figures.
    by_model: Mapping[tuple[str, str], Figures]
    models: Sequence[Group]
    providers: Sequence[Group]
    agents: Sequence[Group]
    tags: Sequence[Group]
    statuses: Sequence[Group]
    tools: Sequence[Group]
    #: Of a longer range the last year's days (``2026-10-05``).
    days: Mapping[str, Figures]
    #: Milliseconds -> how many requests took so long, to the end and to the first token.
    durations: Mapping[int, int]
    first_tokens: Mapping[int, int]
    slowest: Sequence[Row]
    dearest: Sequence[Row]
    #: Why requests failed, and how many of the newest requests were looked at for it; None for all.
    reasons: Sequence[Row]
    reasons_of: int | None
    chats: Sequence[Row] = field(default=())
