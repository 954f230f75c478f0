"""``report --serve``: the report on loopback, rendered for each request. The only file that opens http.server.

A port on loopback is not private: other users of the machine can reach it, and so can web pages, by a name
that resolves to 127.0.0.1. Hence the secret in the path and the check of the Host header.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from llmctl.cli import errors
from llmctl.cli.app import App
from llmctl.cli.commands.report.view import ReportArgs, report_options, report_view
from llmctl.core import clock
from llmctl.core.errors import LlmctlError, NotFoundError, UnavailableError, UsageError
from llmctl.core.signals import block_signals
from llmctl.core.values import Value
from llmctl.engine.inspect import report_data
from llmctl.engine.inspect.report_data import SizeLimit
from llmctl.formats.report import page
from llmctl.formats.report.page import ReportView
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.store.stats.report_queries import read_snapshot

_HOST = "127.0.0.1"
#: Seconds that a connection may stay silent.
_IDLE_TIMEOUT_S = 20
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Links to ranges of time: their text, and the query they stand for.
_RANGES = (
    ("24 hours", {"since": "24h"}),
    ("7 days", {"since": "7d"}),
    ("30 days", {"since": "30d"}),
    ("This month", {"in": "this-month"}),
    ("12 months", {"since": "365d"}),
    ("Everything", {"in": "everything"}),
)
#: The parts of a query that set the range.
_RANGE_KEYS = ("since", "until", "in")
_EVERYTHING = "everything"
_NEWEST_CHATS = 60
_CHAT_SIZE_LIMIT = SizeLimit(text_chars=200_000, thread_chars=2_000_000)


def run(app: App, args: ReportArgs, port: int, on_start: Callable[[str], None] = lambda url: None) -> None:
    """Serve until a signal ends the process; the URL is the first line of stdout, and passed to ``on_start``."""
    token = secrets.token_urlsafe(16)
    with _listen(port) as server:
        server.pages = ReportPages(app.hub_path, args, f"/{token}/")
        server.on_error = partial(_note_error, app)
        url = f"http://{_HOST}:{server.server_port}/{token}/"
        app.console.io.write(f"{url}\n")
        app.console.io.flush()
        app.console.note(f"serving on {_HOST} until Ctrl-C; the URL contains a secret")
        on_start(url)
        server.serve_forever(poll_interval=0.2)


class PageResponse(Value):
    """A response to a browser."""

    status: HTTPStatus
    body: str


class ReportPages:
    """The pages: the report of a range, and one conversation. Each opens the hub anew, for reading.

    ``root`` is the path with the secret.
    """

    def __init__(self, hub: str, args: ReportArgs, root: str) -> None:
        self.root = root
        self._hub = hub
        self._args = args

    def respond(self, target: str) -> PageResponse:
        """Return the page of a path below the root."""
        address = urlsplit(target)
        path = address.path[len(self.root) :]
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        try:
            with closing(open_hub(self._hub)) as database, read_snapshot(database):
                return PageResponse(HTTPStatus.OK, "".join(self._render(database, path, query)))
        except LlmctlError as error:
            body = "".join(page.render_notice(error.message, error.hint or "", ReportView()))
            return PageResponse(_http_status(error), body)

    def _render(self, database: Database, path: str, query: Mapping[str, str]) -> Iterator[str]:
        if not path:
            return self._render_report(database, query)
        kind, _, chat_id = path.partition("/")
        if kind != "chat" or self._args.no_chats:
            raise NotFoundError("no such page")
        return self._render_chat(database, chat_id)

    def _render_report(self, database: Database, query: Mapping[str, str]) -> Iterator[str]:
        args = self._with_range(query)
        options = replace(report_options(database, args), newest=_NEWEST_CHATS)
        data = report_data.collect_report(database, options, clock.now())
        view = self._view(database, query)
        yield from page.render_report(data, view.replace(threads=frozenset() if args.no_chats else None))

    def _render_chat(self, database: Database, chat_id: str) -> Iterator[str]:
        for conversation in report_data.load_conversations(database, [chat_id], _CHAT_SIZE_LIMIT):
            yield from page.render_thread(conversation, self._view(database, {}), f"{self.root}#chats")

    def _with_range(self, query: Mapping[str, str]) -> ReportArgs:
        """Return the flags, with the range of the query if it has one."""
        range = _range_of(query)
        if not range:
            return self._args
        period = range.get("in")
        return self._args.replace(
            since=range.get("since"), until=range.get("until"), period=None if period == _EVERYTHING else period
        )

    def _view(self, database: Database, query: Mapping[str, str]) -> ReportView:
        current = _range_of(query) or self._range_of_flags()
        links = [(text, f"{self.root}?{urlencode(range)}", range == current) for text, range in _RANGES]
        return report_view(database).replace(periods=links, thread_url=f"{self.root}chat/{{}}")

    def _range_of_flags(self) -> dict[str, str]:
        """Return the range that the flags set, as a query would; without any it is everything."""
        args = self._args
        flags = {"since": args.since, "until": args.until, "in": args.period}
        return {name: value for name, value in flags.items() if value} or {"in": _EVERYTHING}


class ReportServer(ThreadingHTTPServer):
    """Serves each connection in a thread of its own: browsers open some that they never use."""

    daemon_threads = True
    pages: ReportPages
    on_error: Callable[[BaseException | None], None]

    def process_request(self, request: Any, client_address: Any) -> None:
        with block_signals():
            super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.on_error(sys.exc_info()[1])


class ReportHandler(BaseHTTPRequestHandler):
    """Checks who may ask, and writes the response of :class:`ReportPages`."""

    server: ReportServer
    server_version = "llmctl"
    sys_version = ""
    timeout = _IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the path contains the secret."""

    def _respond(self, *, with_body: bool) -> None:
        response = self._check_access() or self.server.pages.respond(self.path)
        body = response.body.encode("utf-8", "replace")
        self.send_response(response.status)
        policy = f"{page.content_security_policy(live=True)}; frame-ancestors 'none'"
        headers = {**_HEADERS, "Content-Security-Policy": policy, "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    def _check_access(self) -> PageResponse | None:
        """Return the refusal of a request for another host name, from another site, or without the secret."""
        hosts = {f"{name}:{self.server.server_port}" for name in (_HOST, "localhost")}
        if self.headers.get("Host", "").lower() not in hosts or len(self.headers.get_all("Host", [])) != 1:
            return PageResponse(HTTPStatus.MISDIRECTED_REQUEST, "the report is served on 127.0.0.1 only\n")
        if self.headers.get("Sec-Fetch-Site", "none") == "cross-site":
            return PageResponse(HTTPStatus.FORBIDDEN, "cross-site requests are not allowed\n")
        root = self.server.pages.root
        if not compare_digest(self.path[: len(root)].encode(), root.encode()):
            return PageResponse(HTTPStatus.NOT_FOUND, "not found\n")
        return None


def _range_of(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query[name] for name in _RANGE_KEYS if query.get(name)}


def _http_status(error: LlmctlError) -> HTTPStatus:
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.BAD_REQUEST if isinstance(error, UsageError) else HTTPStatus.SERVICE_UNAVAILABLE


def _note_error(app: App, error: BaseException | None) -> None:
    """Note a page that failed; a browser that closed the connection is no failure."""
    if error is None or isinstance(error, (ConnectionError, TimeoutError)):
        return
    app.console.note(f"cannot serve a page: {errors.internal_error(error).message}")
    if app.debug:
        app.console.io.write_stderr(errors.format_traceback(error))


def _listen(port: int) -> ReportServer:
    try:
        return ReportServer((_HOST, port), ReportHandler)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on port {port}: {error.strerror or error}",
            hint="use --port 0 to pick a free port",
            reason="port",
        ) from error
