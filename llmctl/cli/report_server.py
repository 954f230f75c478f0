"""``report --serve``: the report on loopback, made anew for each request. The only file that opens http.server.

Whoever reaches a port on loopback is not yet its user: other users of the machine do, and so do web pages, by a name
that resolves to 127.0.0.1. Hence the secret in the path and the look at the Host header.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llmctl.cli import errors
from llmctl.cli.app import App
from llmctl.cli.report_pages import Answer, Pages
from llmctl.cli.reporting import Wishes
from llmctl.core.errors import UnavailableError
from llmctl.core.signals import deaf
from llmctl.formats.report import page

_HOST = "127.0.0.1"
#: Seconds that a connection may stay silent.
_PATIENCE_S = 20
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def run(app: App, wishes: Wishes, port: int) -> None:
    """Serve until a signal ends the process; the address is the first line of stdout."""
    token = secrets.token_urlsafe(16)
    with _bound(port) as server:
        server.pages = Pages(app.hub_path, wishes, f"/{token}/")
        server.complain = partial(_complain, app)
        app.io.write(f"http://{_HOST}:{server.server_port}/{token}/\n")
        app.io.flush()
        app.note("the report is there until Ctrl-C; only this machine reaches it, keep the address to yourself")
        server.serve_forever(poll_interval=0.2)


class Server(ThreadingHTTPServer):
    """Answers each connection in a thread of its own: browsers open some that they never use."""

    daemon_threads = True
    pages: Pages
    complain: Callable[[BaseException | None], None]

    def process_request(self, request: Any, client_address: Any) -> None:
        with deaf():
            super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.complain(sys.exc_info()[1])


class Handler(BaseHTTPRequestHandler):
    """Says who may ask, and writes what :class:`Pages` answers."""

    server: Server
    server_version = "llmctl"
    sys_version = ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the path has the secret in it."""

    def _answer(self, *, with_body: bool) -> None:
        answer = self._refusal() or self.server.pages.answer(self.path)
        body = answer.body.encode("utf-8", "replace")
        self.send_response(answer.status)
        headers = {**_HEADERS, "Content-Security-Policy": f"{page.policy(live=True)}; frame-ancestors 'none'"}
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    def _refusal(self) -> Answer | None:
        """Return why this is not answered: it came under another name, or without the secret."""
        own = {f"{name}:{self.server.server_port}" for name in (_HOST, "localhost")}
        if self.headers.get("Host", "").lower() not in own or len(self.headers.get_all("Host", [])) != 1:
            return Answer(HTTPStatus.MISDIRECTED_REQUEST, "the report is at 127.0.0.1 only\n")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if site == "cross-site":
            return Answer(HTTPStatus.FORBIDDEN, "other sites may not ask\n")
        root = self.server.pages.root
        if not compare_digest(self.path[: len(root)].encode(), root.encode()):
            return Answer(HTTPStatus.NOT_FOUND, "nothing here\n")
        return None


def _complain(app: App, error: BaseException | None) -> None:
    """Tell of a page that failed; a browser that left is no news."""
    if error is None or isinstance(error, (ConnectionError, TimeoutError)):
        return
    app.note(f"a page failed: {errors.internal_error(error).message}")
    if app.debug:
        app.io.say(errors.trace(error))


def _bound(port: int) -> Server:
    try:
        return Server((_HOST, port), Handler)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on port {port}: {error.strerror or error}", hint="--port 0 takes a free one", reason="port"
        ) from error
