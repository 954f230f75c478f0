"""``--since --until --in``: the range of time that a command looks at."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated

import typer

from llmctl.core import time_ranges
from llmctl.core.errors import UsageError

UntilOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only before this time, or before the start of a period.")
]
PeriodOption = Annotated[
    str | None,
    typer.Option(
        "--in", metavar="PERIOD", help="today, yesterday, week, month, last-week, last-month, 7d, 2026, 2026-10 ..."
    ),
]
TimeZoneOption = Annotated[
    str | None, typer.Option(metavar="ZONE", help="Time zone of days and hours, such as Europe/Rome, or local. [UTC]")
]


def parse_time_range(
    since: str | None, until: str | None, period: str | None, zone: tzinfo = UTC
) -> tuple[str | None, str | None]:
    """Return the stored times of the flags; raise UsageError for a range that cannot be."""
    if period is not None:
        if since is not None or until is not None:
            raise UsageError("--in cannot be combined with --since or --until")
        return time_ranges.parse_period(period, zone=zone)
    start, end = (time_ranges.parse_time(text, zone=zone) if text is not None else None for text in (since, until))
    if start and end and start > end:
        raise UsageError(f'--since must not be later than --until, got "{since}" and "{until}"')
    return start, end
