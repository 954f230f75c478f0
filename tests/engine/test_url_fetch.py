"""What is fetched for a URL, and what is refused, with a server on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError, UnavailableError, UsageError
from llmctl.engine.chats.attachments import fetch_url
from llmctl.engine.runtime import RuntimeEnv
from llmctl.transport import ssrf

OPEN = RuntimeEnv(private_fetch=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"%PDF-1.4" if self.path.endswith("pdf") else b"x" * 10_000)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_content_decides_the_type_of_a_fetched_file(port: int) -> None:
    found = fetch_url(f"http://localhost:{port}/a%20b.pdf", OPEN)
    assert (found.media_type, found.data, found.name) == ("application/pdf", b"%PDF-1.4", "a b.pdf")
    assert fetch_url(f"http://127.0.0.1:{port}/page", OPEN).media_type == "text/html"


def test_redirect_is_followed_and_says_where_it_led(port: int) -> None:
    assert fetch_url(f"http://127.0.0.1:{port}/to//other.pdf", OPEN).url == f"http://127.0.0.1:{port}/other.pdf"
    found = fetch_url(f"http://127.0.0.1:{port}/to/http://localhost:{port}/d.pdf", OPEN)
    assert (found.url, found.name) == (f"http://localhost:{port}/d.pdf", "d.pdf")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://0x7f.1:{}/x.png"])
def test_private_address_is_refused_before_anything_is_sent(port: int, url: str) -> None:
    with pytest.raises(UsageError) as refused:
        fetch_url(url.format(port), RuntimeEnv())
    assert refused.value.reason == "private_address"


def test_redirect_to_a_private_address_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssrf, "is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(UsageError) as refused:
        fetch_url(f"http://127.0.0.1:{port}/to/http://169.254.169.254/latest/meta-data", RuntimeEnv())
    assert refused.value.reason == "private_address"


def test_name_is_looked_up_once_so_that_it_cannot_change(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if asked.count("rebind.example") == 1 else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert fetch_url(f"http://rebind.example:{port}/d.pdf", OPEN).data == b"%PDF-1.4"
    assert asked.count("rebind.example") == 1


def test_size_is_bounded(port: int) -> None:
    with pytest.raises(UsageError) as refused:
        fetch_url(f"http://127.0.0.1:{port}/big", OPEN, max_bytes=9_999)
    assert refused.value.reason == "too_large"


def test_redirects_without_end_are_given_up(port: int) -> None:
    with pytest.raises(UnavailableError, match="redirects too many times"):
        fetch_url(f"http://127.0.0.1:{port}/to//to//to//to//to//to//to//to//to//to/x", OPEN)


@pytest.mark.parametrize(("path", "kind"), [("404", NotFoundError), ("403", RejectedError), ("503", UnavailableError)])
def test_word_of_the_server_is_passed_on(port: int, path: str, kind: type[LlmctlError]) -> None:
    with pytest.raises(kind, match=path):
        fetch_url(f"http://127.0.0.1:{port}/{path}", OPEN)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "http://", "http://u:p@h/x", "http://[::1", "x"])
def test_what_is_no_plain_http_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        fetch_url(url, OPEN)


def test_nothing_beyond_this_machine_is_fetched_offline() -> None:
    with pytest.raises(UnavailableError) as refused:
        fetch_url("http://93.184.215.14/x", RuntimeEnv(offline=True))
    assert refused.value.reason == "offline"
