"""``llmctl report``: one page that shows where the tokens, the money and the time went."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App


def report(
    ctx: typer.Context,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write it here, for nobody else to read.")] = None,
    since: common_options.Since = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Up to this time, without it.")] = None,
    period: Annotated[
        str | None, typer.Option("--in", metavar="PERIOD", help="today, yesterday, last-month, 2026, 2026-10 ...")
    ] = None,
    tz: Annotated[str | None, typer.Option(metavar="ZONE", help="Days and hours of this zone, or local.")] = None,
    chat: Annotated[
        list[str] | None, typer.Option(metavar="REF", help="Put in this conversation, not the newest; repeatable.")
    ] = None,
    no_chats: Annotated[bool, typer.Option("--no-chats", help="Numbers alone: no conversations, no texts.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Offer it to this machine's browsers, always fresh.")] = False,
    port: Annotated[int | None, typer.Option(metavar="N", help="With --serve: this port; 0 is a free one.")] = None,
) -> None:
    """Draw a dashboard: cost, tokens, latency, errors, tools and chats, as one HTML file.

    The file needs nothing else: no network, no script. It has the fifty newest conversations of the range in it, and
    those of the dearest and slowest requests, so that links lead to them; what looks like a key is masked, long texts
    are cut. Colours follow the reader's system, or the setting "theme". The figures are those of `stats`.

    With --serve nothing is written: the address stands on the first line of stdout, only this machine can reach it,
    and only who has the address can read it. Each page is made when it is asked for. Ctrl-C ends it.

    Examples:
      llmctl report --output report.html
      llmctl report --in last-month --no-chats > usage.html
    """
    from llmctl.cli import reporting

    app: App = ctx.obj
    wishes = reporting.Wishes(since, until, period, tz, tuple(chat or ()), no_chats)
    if serve:
        reporting.serve(app, wishes, output, port)
    else:
        reporting.write(app, wishes, output, port)
