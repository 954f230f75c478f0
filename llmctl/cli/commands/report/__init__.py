"""``llmctl report``: the flags, and the page in a file or on stdout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.commands.shared.time_range import PeriodOption, TimeZoneOption, UntilOption
from llmctl.cli.listing_args import resolve_last
from llmctl.core.errors import UsageError
from llmctl.core.humanize import format_size

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console
    from llmctl.engine.inspect.report_data import ReportOptions
    from llmctl.store.database import Database


def report(
    ctx: typer.Context,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to FILE (mode 0600).")] = None,
    since: common_options.SinceOption = None,
    until: UntilOption = None,
    period: PeriodOption = None,
    tz: TimeZoneOption = None,
    chat: Annotated[
        list[str] | None, typer.Option(metavar="REF", help="Include this chat instead of the newest. Repeatable.")
    ] = None,
    no_chats: Annotated[bool, typer.Option("--no-chats", help="Numbers only: no conversations, no texts.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it to browsers on this machine, always fresh.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser: the page, or the file.")] = False,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port for --serve; 0 picks a free one.")] = None,
) -> None:
    """Write an HTML dashboard of cost, tokens, latency, errors, tools and chats.

    One file that needs no network and no script. It includes the 50 newest conversations of the range and those of the
    most expensive and slowest requests, so that links lead to them; what looks like a key is masked, long texts are
    cut. Colors follow the reader's system, or the setting "theme". The numbers are those of llmctl stats.

    --serve writes no file: it prints a URL on the first line of stdout and serves fresh pages until Ctrl-C. Only this
    machine can reach them, and only with the secret in the URL. --open shows either in the browser.

    Examples:
      llmctl report --output report.html
      llmctl report --in last-month --no-chats > usage.html
      llmctl report --serve --open
    """
    from llmctl.cli.commands.report.view import ReportArgs, report_options

    app: App = ctx.obj
    chats = tuple(resolve_last(app, "chat", ref) for ref in chat or ())
    args = ReportArgs(since, until, period, tz, chats, no_chats)
    if serve:
        _require_servable(output, port)
        report_options(app.hub(), args)  # reject bad flags before serving
        from llmctl.cli.commands.report import server  # http.server: 30 ms

        server.run(app, args, port or 0, partial(open_in_browser, app.console) if open_ else lambda url: None)
        return
    if open_ and output is None:
        output = _private_file()
    _require_destination(app, output, port)
    database = app.hub()
    _write(app, database, report_options(database, args), output)
    if open_ and output is not None:
        open_in_browser(app.console, Path(output).resolve().as_uri())


def _private_file() -> str:
    """Return the path of a new file that only this user can read."""
    import tempfile  # only with --open

    handle, path = tempfile.mkstemp(prefix="llmctl-report-", suffix=".html")
    os.close(handle)
    return path


def open_in_browser(console: Console, url: str) -> None:
    """Open a page in the user's browser; say where it is if there is none."""
    import webbrowser  # only with --open

    if not webbrowser.open(url):
        console.note(f"no browser found; open {url}")


def _require_servable(output: str | None, port: int | None) -> None:
    if output is not None:
        raise UsageError("--output and --serve cannot be combined")
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f'--port must be 0 to 65535, got "{port}"', hint="use --port 0 to pick a free port")


def _require_destination(app: App, output: str | None, port: int | None) -> None:
    if port is not None:
        raise UsageError("--port requires --serve")
    if output is None and app.console.io.stdout_tty:
        raise UsageError("cannot show HTML on a terminal", hint="llmctl report --output report.html or --serve")
    if output is not None:
        require_writable_path(output)


def _write(app: App, database: Database, options: ReportOptions, output: str | None) -> None:
    if output is None:
        for piece in _render(database, options):
            app.console.io.write(piece)
        return
    write_file(output, _render(database, options), private=True)
    app.console.note(f'wrote "{output}", {format_size(os.path.getsize(output))}')


def _render(database: Database, options: ReportOptions) -> Iterator[str]:
    from llmctl.cli.commands.report.view import report_view
    from llmctl.core import clock
    from llmctl.engine.inspect import report_data
    from llmctl.engine.inspect.report_data import SizeLimit
    from llmctl.formats.report import page
    from llmctl.store.stats.report_queries import read_snapshot

    with read_snapshot(database):
        data = report_data.collect_report(database, options, clock.now())
        ids = [chat.id for chat in data.chats]
        view = report_view(database).replace(threads=frozenset(ids))
        yield from page.render_report(data, view, report_data.load_conversations(database, ids, SizeLimit()))
