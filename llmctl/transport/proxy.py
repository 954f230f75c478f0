"""Forward HTTP requests on loopback, byte for byte: the only file with aiohttp. It knows nothing of what passes.

A :class:`Gate` decides where a request goes and keeps what passes: it is told of every piece before that is passed on.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from llmctl.core.values import Value

#: Pairs of name and value in the order and spelling of the wire.
Headers = tuple[tuple[str, str], ...]

#: A body up to this size is whole when the gate decides; of a larger one this is what it sees.
START_BYTES = 8 * 1024 * 1024
#: Agents describe their turns in headers of many kilobytes.
_MAX_HEADER_BYTES = 256 * 1024
_CONNECT_S = 30.0
#: Shorter than what providers keep open, so that a pooled connection is not closed while it is taken.
_KEEPALIVE_S = 15.0
#: Seconds for open requests once the proxy is told to stop.
_DRAIN_S = 600.0

#: https://www.rfc-editor.org/rfc/rfc9110.html#section-7.6.1
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}


class ProxiedRequest(Value):
    """A request as it came. ``path`` has the query; it is not decoded."""

    method: str
    path: str
    headers: Headers
    #: The body, or its first bytes.
    start: bytes
    #: Whether ``start`` is the whole body.
    is_whole: bool

    def find(self, name: str) -> str | None:
        """Return the first header of a name in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Refusal(Value):
    """An answer of the proxy itself."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {"content-type": "application/json"}


class Passage(Protocol):
    """A request on its way. Each method is called before what it is told of is passed on; each may raise OSError."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Headers:
        """The headers to send, without those between two hops."""
        ...

    def begin(self) -> None:
        """The upstream is contacted now."""
        ...

    def add_request(self, data: bytes) -> None: ...
    def end_request(self) -> None: ...
    def respond(self, status: int, headers: Headers) -> None: ...
    def add_response(self, data: bytes) -> None: ...
    def end(self, error: str | None) -> None:
        """The exchange is over; ``error`` says how it broke off: ``client``, ``connect``, ``cut``, ``timeout``."""
        ...


class Gate(Protocol):
    async def admit(self, request: ProxiedRequest) -> Passage | Refusal: ...
    def refuse(self, request: ProxiedRequest, status: int, reason: str, message: str) -> Refusal:
        """Return an answer of the proxy in the words of the protocol of the request."""
        ...


class ProxyServer:
    """Serves on a port of loopback until it is closed."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._proxies: Mapping[str, str] = {}
        #: Requests that are not over.
        self.open_count = 0

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket of :func:`open_listener`."""
        self._proxies = getproxies()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_remove_own_headers)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            auto_decompress=False,
            shutdown_timeout=_DRAIN_S,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=1024).start()

    async def close(self) -> None:
        """Take no more requests, wait for the open ones, and close."""
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        start, is_whole = await _read_start(request)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        incoming = ProxiedRequest(request.method, request.raw_path, headers, start, is_whole)
        if fault := _find_fault(request, incoming):
            return _answer(self._gate.refuse(incoming, *fault))
        decision = await self._gate.admit(incoming)
        if isinstance(decision, Refusal):
            return _answer(decision)
        self.open_count += 1
        try:
            return await self._forward(request, incoming, decision)
        finally:
            self.open_count -= 1

    async def _forward(self, request: web.Request, incoming: ProxiedRequest, passage: Passage) -> web.StreamResponse:
        error: str | None = "client"
        response: web.StreamResponse | None = None
        try:
            passage.begin()
            async with self._send(request, incoming, passage) as upstream:
                status, reason = upstream.status, upstream.reason
                headers = tuple(
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in upstream.raw_headers
                )
                passage.respond(status, headers)
                response = _prepare_response(request, status, reason, headers)
                await response.prepare(request)
                async for data in _read_pieces(upstream):
                    passage.add_response(data)
                    await response.write(data)
                await response.write_eof()
            error = None
            return response
        except (aiohttp.ClientError, TimeoutError) as problem:
            if isinstance(problem, aiohttp.ClientConnectionResetError) and response is not None:
                raise  # the caller hung up
            error = _name_error(problem, response)
            if response is None:
                return _answer(self._gate.refuse(incoming, 502, error, describe_error(problem, passage.url)))
            _cut_connection(request)  # the caller must see that the answer is not complete
            return response
        finally:
            with suppress(OSError):
                passage.end(error)

    def _send(self, request: web.Request, incoming: ProxiedRequest, passage: Passage) -> Any:
        assert self._session
        body: bytes | AsyncIterator[bytes] | None = incoming.start or None
        if incoming.is_whole:
            if incoming.start:
                passage.add_request(incoming.start)
            passage.end_request()
        else:
            body = _pass_body(request, incoming.start, passage)
        has_length = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in incoming.headers)
        return self._session.request(
            incoming.method,
            URL(passage.url, encoded=True),
            headers=CIMultiDict(passage.headers),
            data=b"" if body is None and has_length else body,
            allow_redirects=False,
            proxy=self._find_proxy(passage.url),
        )

    def _find_proxy(self, url: str) -> str | None:
        """Return the proxy that the environment names for a host; none for loopback."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host in ("127.0.0.1", "::1", "localhost") or proxy_bypass(parts.netloc):
            return None
        return self._proxies.get(parts.scheme) or self._proxies.get("all")


def open_listener(port: int) -> socket.socket:
    """Return a socket on a port of 127.0.0.1; 0 takes a free one. Raises OSError where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def without_hop_by_hop(headers: Headers) -> Headers:
    """Return the headers that go beyond the next hop."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == "connection" for token in value.split(",")
    }
    return tuple((name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP | named)


def describe_error(error: BaseException, url: str) -> str:
    """Return why the upstream gave no answer, for a person."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return f"cannot connect to {host}: {reason}"
    if isinstance(error, TimeoutError):
        return f"no answer from {host} in time"
    return f"{host} closed the connection without an answer"


def _find_fault(request: web.Request, incoming: ProxiedRequest) -> tuple[int, str, str] | None:
    """Return why a request is none for this proxy: it must not become a way around the browser's rules."""
    port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    if incoming.method == "CONNECT" or not incoming.path.startswith("/"):
        return 405, "not_a_forward_proxy", "this is no forward proxy: use it as a base URL"
    if (incoming.find("host") or "").lower() not in hosts:
        return 421, "wrong_host", f'the header Host must name 127.0.0.1:{port}, got "{incoming.find("host")}"'
    if incoming.find("origin") is not None:
        return 403, "from_a_browser", "requests of web pages are refused"
    if "upgrade" in (incoming.find("connection") or "").lower() and incoming.find("upgrade"):
        return 426, "no_websocket", "WebSocket is not supported: use HTTP"
    return None


async def _read_start(request: web.Request) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    size = 0
    while size < START_BYTES:
        data = await request.content.readany()
        if not data:
            return b"".join(pieces), True
        pieces.append(data)
        size += len(data)
    return b"".join(pieces), request.content.at_eof()


async def _pass_body(request: web.Request, start: bytes, passage: Passage) -> AsyncIterator[bytes]:
    passage.add_request(start)
    yield start
    while data := await request.content.readany():
        passage.add_request(data)
        yield data
    passage.end_request()


async def _read_pieces(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    while data := await upstream.content.readany():
        yield data


class _PassedResponse(web.StreamResponse):
    """An answer of the upstream."""

    #: Names of its headers, in lower case.
    upstream_headers: Collection[str] = ()


def _prepare_response(request: web.Request, status: int, reason: str | None, headers: Headers) -> web.StreamResponse:
    response = _PassedResponse(status=status, reason=reason, headers=CIMultiDict(without_hop_by_hop(headers)))
    is_framed = any(name.lower() == "content-length" for name, _ in headers)
    may_have_body = request.method != "HEAD" and status >= 200 and status not in (204, 304)
    if not is_framed and may_have_body and request.version >= aiohttp.HttpVersion11:
        response.enable_chunked_encoding()
    response.upstream_headers = {name.lower() for name, _ in headers}
    return response


async def _remove_own_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Remove the headers that aiohttp adds to an answer of the upstream."""
    if isinstance(response, _PassedResponse):
        for name in ("Server", "Date", "Content-Type"):
            if name.lower() not in response.upstream_headers:
                response.headers.popall(name, None)


def _answer(refusal: Refusal) -> web.Response:
    return web.Response(status=refusal.status, body=refusal.body, headers=refusal.headers)


def _name_error(problem: BaseException, response: web.StreamResponse | None) -> str:
    if response is not None:
        return "cut"
    if isinstance(problem, aiohttp.ClientConnectorError):
        return "connect"
    return "timeout" if isinstance(problem, TimeoutError) else "cut"


def _cut_connection(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()
