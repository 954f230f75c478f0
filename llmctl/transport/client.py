"""One HTTP attempt: a request out, an answer in, every failure one of ours. The only file with httpx."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from llmctl.core.errors import ConfigError, LlmctlError, UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.transport import tls
from llmctl.transport.connection_errors import connection_failure, final
from llmctl.transport.deadline import Deadline

# httpx 0.28 imports its own command line, and with it click and rich (40 ms), unless this name is taken.
_STUB = ModuleType("httpx._main")
_STUB.main = lambda: None  # type: ignore[attr-defined]
if "httpx" not in sys.modules:
    sys.modules["httpx._main"] = _STUB
import httpx  # noqa: E402

if sys.modules.get("httpx._main") is _STUB:
    del sys.modules["httpx._main"]

_FAILURES = (httpx.HTTPError, httpx.StreamError, OSError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first_byte`` is long because models think; ``total`` bounds the whole attempt, body included."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 120.0
    total: float | None = None


class Answer:
    """What came back. ``chunks`` are the body's bytes as they were read, decompressed; they can be taken once.

    Taking them raises an :class:`UnavailableError` (``cut``, ``reset``, ``timeout``) where the body breaks off.
    """

    def __init__(self, response: httpx.Response, chunks: Iterator[bytes]) -> None:
        self.status = response.status_code
        #: Names in lower case; the values of a repeated header are joined by a comma.
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self.http_version = response.http_version
        self.chunks = chunks

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self.chunks)


@contextmanager
def open(
    request: HttpRequest,
    timeouts: Timeouts | None = None,
    *,
    loopback_only: bool = False,
    before_read: Callable[[], None] | None = None,
    at: str | None = None,
) -> Iterator[Answer]:
    """Send the request, give the answer as soon as its headers are there; leaving the block closes the socket.

    Redirects are not followed. With ``loopback_only`` nothing beyond this machine is reached. Proxies are taken
    from the environment, except for loopback. Any status is an answer, no error. ``before_read`` is called each
    time the body's next bytes have to be waited for: several chunks may come of one read. With ``at`` the host is
    reached at that address alone, past any proxy, and a redirect is an answer too. Raises
    :class:`UnavailableError` with a reason of ``network timeout dns tls refused reset cut redirect offline``.
    """
    host, place = _target(request.url)
    local = is_loopback(at or host)
    if loopback_only and not local:
        hint = "unset LLMCTL_OFFLINE to reach it"
        raise final(UnavailableError(f'offline: "{host}" is beyond this machine', reason="offline", hint=hint))
    attempt = _Attempt(place, timeouts or Timeouts())
    response = attempt.send(_client(request.url[:6].lower() == "https:", not (local or at)), request, at)
    try:
        if at is None:
            _refuse_redirect(response, place)
        with _announced_reads(response, before_read):
            yield Answer(response, attempt.chunks(response))
    finally:
        attempt.deadline.disarm()
        response.close()


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, without asking the network."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def _announced_reads(response: httpx.Response, before_read: Callable[[], None] | None) -> Iterator[None]:
    """Call ``before_read`` before each read of the socket: httpx itself says only when a chunk is there."""
    stream = response.extensions.get("network_stream")
    if before_read is None or stream is None:
        yield
        return
    read = stream.read

    def announced(*arguments: Any, **named: Any) -> Any:
        before_read()
        return read(*arguments, **named)

    stream.read = announced
    try:
        yield
    finally:
        del stream.read  # The next attempt may have this connection, and another listener.


class _Attempt:
    """How long to wait for what, and what to say when it fails."""

    def __init__(self, place: str, timeouts: Timeouts) -> None:
        self.place = place
        self.timeouts = timeouts
        self.deadline = Deadline(timeouts.total)

    def send(self, client: httpx.Client, request: HttpRequest, at: str | None = None) -> httpx.Response:
        try:
            url, headers, extensions = _pinned(request, at)
            built = client.build_request(
                request.method,
                url,
                headers=headers,
                content=request.body or None,
                timeout=self._waits(),
                extensions=extensions,
            )
            response = client.send(built, stream=True)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _no_address() from None
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            raise self._bad_header() from None  # Its text quotes the header, which may be the key.
        except _FAILURES as error:
            raise self._failure(error, answered=False) from error
        # The body's reads take their limit from here: after the first byte a shorter silence is too long.
        built.extensions["timeout"]["read"] = self.deadline.limit(self.timeouts.idle)
        stream = response.extensions.get("network_stream")
        self.deadline.guard(stream.get_extra_info("socket") if stream else None)
        return response

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except _FAILURES as error:
            raise self._failure(error, answered=True) from error
        if self.deadline.struck and not {"content-length", "transfer-encoding"} & response.headers.keys():
            # A body that ends with its connection looks whole when that was shut down.
            raise self._out_of_time()

    def _waits(self) -> httpx.Timeout:
        limit = self.deadline.limit
        return httpx.Timeout(
            connect=limit(self.timeouts.connect),
            read=limit(self.timeouts.first_byte),
            write=limit(self.timeouts.idle),
            pool=limit(self.timeouts.connect),
        )

    def _failure(self, error: Exception, *, answered: bool) -> LlmctlError:
        place, waits = self.place, self.timeouts
        if self.deadline.passed:
            return self._out_of_time()
        match error:
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return _timeout(f"no connection to {place} within {waits.connect:g} s")
            case httpx.TimeoutException() if answered:
                return _timeout(f"nothing more came from {place} for {waits.idle:g} s")
            case httpx.TimeoutException():
                return _timeout(f"no answer from {place} within {waits.first_byte:g} s")
            case httpx.DecodingError():
                return UnavailableError(f"the answer of {place} cannot be decompressed", reason="network")
            case httpx.ProxyError():
                return UnavailableError(f"the proxy gives no way to {place}", reason="network")
        if found := connection_failure(error, place):
            return found
        if answered:
            return UnavailableError(f"{place} closed the connection before the end of its answer", reason="cut")
        if isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error):
            return UnavailableError(f"{place} closed the connection without an answer", reason="reset")
        if isinstance(error, httpx.RemoteProtocolError):
            return UnavailableError(f"{place} does not speak http", reason="network")
        return UnavailableError(f"no connection to {place}", reason="network")

    def _out_of_time(self) -> LlmctlError:
        return _timeout(f"no complete answer from {self.place} within {self.timeouts.total:g} s")

    def _bad_header(self) -> LlmctlError:
        return ConfigError(
            f"a header for {self.place} holds a character that http does not allow",
            hint="check the key: a line end or a letter beyond ascii may have slipped in",
            reason="auth",
        )


@lru_cache(maxsize=4)
def _client(secure: bool, trust_env: bool) -> httpx.Client:
    """Return the process's client; its connections are kept alive between the steps of a turn."""
    try:
        return httpx.Client(
            verify=tls.context() if secure else False,
            trust_env=trust_env,
            follow_redirects=False,
            headers={"user-agent": "llmctl"},
        )
    except (ImportError, ValueError):  # A SOCKS proxy, or none that httpx knows.
        raise ConfigError(
            "the proxy named in the environment cannot be used",
            hint="look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or name the host in NO_PROXY",
        ) from None
    except OSError:
        raise ConfigError(
            "the certificate authorities cannot be read", hint="look at SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None


def _pinned(request: HttpRequest, at: str | None) -> tuple[httpx.URL, dict[str, str], dict[str, Any]]:
    """Return URL, headers and extensions; with ``at`` the URL leads there, and host and certificate stay the name's."""
    url, headers = httpx.URL(request.url), _headers(request)
    if at is None:
        return url, headers, {}
    headers |= {"host": url.netloc.decode("ascii"), "connection": "close"}  # another name may have this address
    return url.copy_with(host=at), headers, {"sni_hostname": url.raw_host.decode("ascii")}


def _headers(request: HttpRequest) -> dict[str, str]:
    headers = dict(request.headers)
    if "event-stream" in headers.get("accept", ""):
        headers.setdefault("accept-encoding", "identity")  # Compression holds tokens back.
    return headers


def _refuse_redirect(response: httpx.Response, place: str) -> None:
    if not response.has_redirect_location:
        return
    target = urlsplit(response.headers["location"]).netloc.rpartition("@")[2] or place
    raise final(
        UnavailableError(
            f'{place} redirects to "{target}"',
            reason="redirect",
            hint="set the base url of the connection to the new address",
            status_code=response.status_code,
        )
    )


def _target(url: str) -> tuple[str, str]:
    """Return host and ``host:port`` of a URL: all of it that messages may show."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_address() from None
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise _no_address()
    return parts.hostname, f"{parts.hostname}:{port}"


def _no_address() -> UsageError:
    return UsageError("the base url is no http address", hint="it must begin with http:// or https://")


def _timeout(message: str) -> UnavailableError:
    return UnavailableError(message, reason="timeout")
