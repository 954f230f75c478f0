"""From the flags of ``report`` to a page: in a file, on stdout, or offered to browsers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC
from typing import NamedTuple

from llmctl import __version__
from llmctl.cli import figures, files, looking
from llmctl.cli.app import App
from llmctl.core import clock, time_ranges
from llmctl.core.errors import UsageError
from llmctl.engine.inspect import report_data, report_transcripts
from llmctl.engine.inspect.report_data import Wish
from llmctl.engine.inspect.report_transcripts import Room
from llmctl.formats.report import page
from llmctl.formats.report.page import View
from llmctl.store.database import Database
from llmctl.store.records import settings
from llmctl.store.stats.report_queries import moment


class Wishes(NamedTuple):
    """The flags."""

    since: str | None = None
    until: str | None = None
    period: str | None = None
    tz: str | None = None
    chats: tuple[str, ...] = ()
    no_chats: bool = False


def write(app: App, wishes: Wishes, output: str | None, port: int | None) -> None:
    """Write the report to a file, whole or not at all, or to stdout where that is no terminal."""
    if port is not None:
        raise UsageError('"--port" needs "--serve"')
    if output is None and app.io.stdout_tty:
        raise UsageError(
            "a terminal cannot show a page", hint="write it with --output report.html, or offer it with --serve"
        )
    if output is not None:
        files.check_place(output)
    database = app.hub()
    wish = wish_of(database, wishes)
    if output is None:
        for piece in _pieces(database, wish):
            app.io.write(piece)
        return
    files.write_whole(output, _pieces(database, wish), private=True)
    app.note(f'wrote "{output}", {os.path.getsize(output):,} bytes')


def serve(app: App, wishes: Wishes, output: str | None, port: int | None) -> None:
    """Offer the report on loopback until a signal ends it."""
    if output is not None:
        raise UsageError('"--output" and "--serve" exclude each other')
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f'"--port {port}" is no port', hint="0 takes a free one")
    wish_of(app.hub(), wishes)  # what is wrong is told before anybody asks
    from llmctl.cli import report_server  # http.server: 30 ms

    report_server.run(app, wishes, port or 0)


def wish_of(database: Database, wishes: Wishes) -> Wish:
    """Return what is to be counted; raise UsageError for what cannot be meant, NotFoundError for an unknown chat."""
    if wishes.chats and wishes.no_chats:
        raise UsageError('"--chat" and "--no-chats" exclude each other')
    zone = time_ranges.time_zone(wishes.tz) if wishes.tz else None
    span = figures.span_of(wishes.since, wishes.until, wishes.period, zone or UTC)
    ids = [looking.chat_id(database, ref) or "" for ref in wishes.chats]
    return Wish(
        hub=os.path.basename(database.path),
        since=span[0],
        until=span[1],
        zone=zone,
        zone_name=wishes.tz or "UTC",
        chats=tuple(dict.fromkeys(ids)) if ids else None,
        names=not wishes.no_chats,
    )


def view_of(database: Database) -> View:
    """Return how pages look in this hub."""
    return View(theme=settings.value(database, "theme"), version=__version__)


def _pieces(database: Database, wish: Wish) -> Iterator[str]:
    with ExitStack() as stack:
        stack.enter_context(moment(database))
        found = report_data.gather(database, wish, clock.now())
        ids = [chat["id"] for chat in found.chats]
        view = view_of(database)._replace(threads=frozenset(ids))
        yield from page.pieces(found, view, report_transcripts.conversations(database, ids, Room()))
