"""From the flags of ``report`` to the data and the look of a page."""

from __future__ import annotations

import os
from datetime import UTC

from llmctl import __version__
from llmctl.cli.commands.shared.time_range import parse_time_range
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.core.values import Value
from llmctl.engine.inspect.report_data import ReportOptions
from llmctl.formats.report.page import ReportView
from llmctl.store.database import Database
from llmctl.store.records import chats, settings


class ReportArgs(Value):
    """The flags that say what is in the report."""

    since: str | None = None
    until: str | None = None
    period: str | None = None
    tz: str | None = None
    chats: tuple[str, ...] = ()
    no_chats: bool = False


def report_options(database: Database, args: ReportArgs) -> ReportOptions:
    """Return what the report is about; raise UsageError for flags that do not fit, NotFoundError for a chat."""
    if args.chats and args.no_chats:
        raise UsageError("--chat and --no-chats cannot be combined")
    zone = time_ranges.parse_time_zone(args.tz) if args.tz else None
    since, until = parse_time_range(args.since, args.until, args.period, zone or UTC)
    ids = [chats.get(database, ref).id for ref in args.chats]
    return ReportOptions(
        hub=os.path.basename(database.path),
        since=since,
        until=until,
        zone=zone,
        zone_name=args.tz or "UTC",
        chats=tuple(dict.fromkeys(ids)) if ids else None,
        names=not args.no_chats,
    )


def report_view(database: Database) -> ReportView:
    """Return how the pages of this hub look."""
    return ReportView(theme=settings.get(database, "theme"), version=__version__)
