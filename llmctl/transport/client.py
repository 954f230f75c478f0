"""One HTTP attempt: send a request, read the response, translate every failure. The only file with httpx."""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from ipaddress import ip_address
from threading import Timer
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmctl.core.errors import ConfigError, LlmctlError, UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.signals import block_signals
from llmctl.transport import decompression

if TYPE_CHECKING:  # only a program stops a turn from another thread
    from llmctl.core.interrupt import Interrupt

# httpx 0.28 imports its own command line, and with it click and rich (40 ms), unless this name is taken.
_STUB = ModuleType("httpx._main")
_STUB.main = lambda: None  # type: ignore[attr-defined]
if "httpx" not in sys.modules:
    sys.modules["httpx._main"] = _STUB
import httpx  # noqa: E402

if sys.modules.get("httpx._main") is _STUB:
    del sys.modules["httpx._main"]

#: A map sends in as many threads as its user wants; by default httpx keeps 20 connections.
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
_CLIENT_ERRORS = (httpx.HTTPError, httpx.StreamError, OSError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first_byte`` is long because models think; ``total`` bounds the whole attempt, body included."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 120.0
    total: float | None = None


class HttpResponse:
    """A response. ``chunks`` are the decompressed bytes of the body as they arrive; they can be iterated once.

    Iterating raises an :class:`UnavailableError` (``cut``, ``reset``, ``timeout``) if the body is cut off.
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
def send_request(
    request: HttpRequest,
    timeouts: Timeouts | None = None,
    *,
    loopback_only: bool = False,
    before_read: Callable[[], None] | None = None,
    address: str | None = None,
    interrupt: Interrupt | None = None,
) -> Iterator[HttpResponse]:
    """Send the request and yield the response as soon as its headers arrive; leaving the block closes the socket.

    Redirects are not followed. With ``loopback_only`` only this machine is reachable. Proxies are read from the
    environment, except for loopback. An error status is a response, not an error. ``before_read`` is called before
    each wait for more bytes of the body; one read may yield several chunks. With ``address`` the host is only
    reached at that address, without a proxy, and a redirect is a response too. ``interrupt`` ends the attempt from
    another thread. Raises :class:`UnavailableError` with a reason of
    ``network timeout dns tls refused reset cut redirect offline``.
    """
    host, host_port = _parse_target(request.url)
    local = is_loopback(address or host)
    if loopback_only and not local:
        hint = "go online: unset LLMCTL_OFFLINE"
        raise mark_final(UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline", hint=hint))
    attempt = _HttpAttempt(host_port, timeouts or Timeouts(), interrupt)
    secure, trust_env = request.url[:6].lower() == "https:", not (local or address)
    with _borrow_client(secure, trust_env, is_own=interrupt is not None) as client:
        response = attempt.send(client, request, address)
        try:
            if address is None:
                _refuse_redirect(response, host_port)
            with _notify_before_reads(response, before_read):
                yield HttpResponse(response, attempt.chunks(response))
        finally:
            attempt.disarm()
            response.close()


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, without a network lookup."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def _notify_before_reads(response: httpx.Response, before_read: Callable[[], None] | None) -> Iterator[None]:
    """Call ``before_read`` before each read of the socket: httpx only reports finished chunks."""
    stream = response.extensions.get("network_stream")
    if before_read is None or stream is None:
        yield
        return
    read = stream.read

    def notifying_read(*arguments: Any, **named: Any) -> Any:
        before_read()
        return read(*arguments, **named)

    stream.read = notifying_read
    try:
        yield
    finally:
        del stream.read  # the next attempt may reuse this connection with another callback


class _HttpAttempt:
    """One attempt: its timeouts, its deadline and the messages of its failures."""

    def __init__(self, host_port: str, timeouts: Timeouts, interrupt: Interrupt | None = None) -> None:
        self.host_port = host_port
        self.interrupt = interrupt
        self.timeouts = timeouts
        self.deadline = Deadline(timeouts.total)

    def send(self, client: httpx.Client, request: HttpRequest, address: str | None = None) -> httpx.Response:
        try:
            url, headers, extensions = _pin_address(request, address)
            if self.timeouts.total is not None or self.interrupt is not None:
                extensions["trace"] = self._guard_new_connection
            built = client.build_request(
                request.method,
                url,
                headers=headers,
                content=request.body or None,
                timeout=self._build_timeout(),
                extensions=extensions,
            )
            response = client.send(built, stream=True)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _bad_url_error() from None
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            self.disarm()
            raise self._bad_header_error() from None  # its text quotes the header, which may be the key
        except _CLIENT_ERRORS as error:
            self._raise_if_interrupted()
            self.disarm()
            raise self._translate_error(error, answered=False) from error
        # Reads of the body use this limit: after the first byte a shorter silence counts as a timeout.
        built.extensions["timeout"]["read"] = self.deadline.limit_wait(self.timeouts.idle)
        stream = response.extensions.get("network_stream")
        self._watch_socket(stream.get_extra_info("socket") if stream else None)
        return response

    def disarm(self) -> None:
        """Leave the socket alone from now on."""
        self.deadline.disarm()
        if self.interrupt is not None:
            self.interrupt.watch_socket(None)

    def _guard_new_connection(self, event: str, details: dict[str, Any]) -> None:
        """Guard a socket as soon as it is connected: headers may trickle in without a single read timing out."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._watch_socket(details["return_value"].get_extra_info("socket"))

    def _watch_socket(self, connected: socket.socket | None) -> None:
        self.deadline.watch_socket(connected)
        if self.interrupt is not None:
            self.interrupt.watch_socket(connected)

    def _raise_if_interrupted(self) -> None:
        if self.interrupt is not None:
            self.interrupt.raise_if_set()

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from decompression.decompress(response.iter_raw(), response.headers.get("content-encoding", ""))
        except decompression.DecompressionError as error:
            message = f"cannot decompress the response of {self.host_port}: {error}"
            raise mark_final(UnavailableError(message, reason="network")) from error
        except _CLIENT_ERRORS as error:
            self._raise_if_interrupted()
            raise self._translate_error(error, answered=True) from error
        self._raise_if_interrupted()  # without a length, a body looks complete when its connection is shut down
        if self.deadline.has_fired and not {"content-length", "transfer-encoding"} & response.headers.keys():
            # Without a length, a body looks complete when the deadline shuts its connection down.
            raise self._total_timeout_error()

    def _build_timeout(self) -> httpx.Timeout:
        limit = self.deadline.limit_wait
        return httpx.Timeout(
            connect=limit(self.timeouts.connect),
            read=limit(self.timeouts.first_byte),
            write=limit(self.timeouts.idle),
            pool=limit(self.timeouts.connect),
        )

    def _translate_error(self, error: Exception, *, answered: bool) -> LlmctlError:
        host_port, waits = self.host_port, self.timeouts
        if self.deadline.is_over:
            return self._total_timeout_error()
        match error:
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return _timeout_error(f"no connection to {host_port} within {waits.connect:g} s")
            case httpx.TimeoutException() if answered:
                return _timeout_error(f"no more data from {host_port} for {waits.idle:g} s")
            case httpx.TimeoutException():
                return _timeout_error(f"no response from {host_port} within {waits.first_byte:g} s")
            case httpx.ProxyError():
                return UnavailableError(f"the proxy refused to connect to {host_port}", reason="network")
        if found := explain_connection_error(error, host_port):
            return found
        if answered:
            return UnavailableError(f"{host_port} closed the connection before the end of its response", reason="cut")
        if isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error):
            return UnavailableError(f"{host_port} closed the connection without a response", reason="reset")
        if isinstance(error, httpx.RemoteProtocolError):
            return UnavailableError(f"{host_port} does not speak HTTP", reason="network")
        return UnavailableError(f"no connection to {host_port}", reason="network")

    def _total_timeout_error(self) -> LlmctlError:
        return _timeout_error(f"no complete response from {self.host_port} within {self.timeouts.total:g} s")

    def _bad_header_error(self) -> LlmctlError:
        return ConfigError(
            f"a header for {self.host_port} contains a character that HTTP does not allow",
            hint="check the key: it may contain a line break or a non-ASCII letter",
            reason="auth",
        )


@contextmanager
def _borrow_client(secure: bool, trust_env: bool, *, is_own: bool) -> Iterator[httpx.Client]:
    """Lend a client for one attempt: an own one where another thread must find its socket, whatever it waits for."""
    if not is_own:
        yield _get_client(secure, trust_env)
        return
    with _build_client(secure, trust_env) as client:
        yield client


@lru_cache(maxsize=4)
def _get_client(secure: bool, trust_env: bool) -> httpx.Client:
    """Return the client of the process; its connections are kept alive between the steps of a turn."""
    return _build_client(secure, trust_env)


def _build_client(secure: bool, trust_env: bool) -> httpx.Client:
    try:
        return httpx.Client(
            verify=get_tls_context() if secure else False,
            trust_env=trust_env,
            follow_redirects=False,
            headers={"user-agent": "llmctl", "accept-encoding": decompression.ACCEPTED},
            limits=_LIMITS,
        )
    except (ImportError, ValueError):  # a SOCKS proxy, or one that httpx does not know
        raise ConfigError(
            "cannot use the proxy from the environment",
            hint="check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or add the host to NO_PROXY",
        ) from None
    except OSError:
        raise ConfigError(
            "cannot read the certificate authorities", hint="check SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None


def _pin_address(request: HttpRequest, address: str | None) -> tuple[httpx.URL, dict[str, str], dict[str, Any]]:
    """Return URL, headers and extensions; with ``address`` the URL points there, but Host and TLS keep the name."""
    url, headers = httpx.URL(request.url), _headers(request)
    if address is None:
        return url, headers, {}
    headers |= {"host": url.netloc.decode("ascii"), "connection": "close"}  # another name may share this address
    return url.copy_with(host=address), headers, {"sni_hostname": url.raw_host.decode("ascii")}


def _headers(request: HttpRequest) -> dict[str, str]:
    headers = dict(request.headers)
    if "event-stream" in headers.get("accept", ""):
        headers.setdefault("accept-encoding", "identity")  # compression delays tokens
    return headers


def _refuse_redirect(response: httpx.Response, host_port: str) -> None:
    if not response.has_redirect_location:
        return
    location = response.headers["location"]
    try:
        target = f'"{urlsplit(location).netloc.rpartition("@")[2] or host_port}"'
    except ValueError:
        target = "an invalid URL"
    raise mark_final(
        UnavailableError(
            f"{host_port} redirects to {target}",
            reason="redirect",
            hint="set the new base URL: llmctl connection edit NAME --base-url URL",
            status_code=response.status_code,
        )
    )


def _parse_target(url: str) -> tuple[str, str]:
    """Return host and ``host:port`` of a URL: the only parts that messages may show."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _bad_url_error() from None
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise _bad_url_error()
    return parts.hostname, f"{parts.hostname}:{port}"


def _bad_url_error() -> UsageError:
    return UsageError(
        "the base URL must start with http:// or https://", hint="for example: --base-url http://localhost:8000/v1"
    )


def _timeout_error(message: str) -> UnavailableError:
    return UnavailableError(message, reason="timeout")


def mark_final(error: LlmctlError) -> LlmctlError:
    """Mark an error as not retryable."""
    error.retryable = False
    return error


def explain_connection_error(error: BaseException, host_port: str) -> LlmctlError | None:
    """Return the error for a foreign exception, judged by its causes; None if they are unknown.

    ``host_port`` is the only part of the URL that a message may show.
    """
    for cause in _iter_causes(error):
        match cause:
            case socket.gaierror():
                return UnavailableError(
                    f'cannot find host "{host_port.rpartition(":")[0]}"',
                    reason="dns",
                    hint="check the base URL of the connection, and the network",
                )
            case ssl.SSLCertVerificationError():
                return mark_final(
                    UnavailableError(
                        f"cannot verify the certificate of {host_port}: {cause.verify_message}",
                        reason="tls",
                        hint="behind a company proxy, set SSL_CERT_FILE to its certificates",
                    )
                )
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return UnavailableError(f"{host_port} closed the connection", reason="cut")
            case ssl.SSLError():
                return UnavailableError(f"no secure connection to {host_port}: {cause.reason}", reason="tls")
            case ConnectionRefusedError():
                return UnavailableError(
                    f"{host_port} refused the connection", reason="refused", hint="check that the server is running"
                )
            case ConnectionResetError() | BrokenPipeError():
                return UnavailableError(f"{host_port} reset the connection", reason="reset")
    return None


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes, deepest first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(chain)


class Deadline:
    """Limits single waits, and shuts the socket down by a timer, so that no read outlasts the attempt."""

    def __init__(self, total: float | None) -> None:
        self._end = None if total is None else time.monotonic() + total
        self._timer: Timer | None = None
        self._socket: socket.socket | None = None
        #: Whether the timer has shut the socket down.
        self.has_fired = False

    @property
    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def limit_wait(self, seconds: float) -> float:
        """Return the seconds that one wait may take."""
        return seconds if self._end is None else max(0.001, min(seconds, self._end - time.monotonic()))

    def watch_socket(self, connected: socket.socket | None) -> None:
        """Shut the socket down at the deadline, unless disarmed. A later socket (TLS) replaces an earlier one."""
        if self._end is None or connected is None:
            return
        self._socket = connected
        if self._timer is not None:
            return
        self._timer = Timer(self.limit_wait(float("inf")), self._shut_down_socket)
        self._timer.daemon = True
        with block_signals():
            self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _shut_down_socket(self) -> None:
        self.has_fired = True
        connected = self._socket
        if connected is None:
            return
        with suppress(OSError):  # it may be closed already
            # Not ``connected.shutdown``: on a TLS socket that would drop its state while it is being read.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
_SYSTEM = "/etc/ssl/certs"


@cache
def get_tls_context() -> ssl.SSLContext:
    """Return the context: ``SSL_CERT_FILE``, then ``SSL_CERT_DIR``, then the system's hashed directory, then certifi.

    A hashed directory is read on demand (0.1 ms); loading a bundle takes 20 to 30 ms.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile and paths.cafile != paths.openssl_cafile:  # set by the environment
        context.load_verify_locations(cafile=paths.cafile)
    elif directory := next(filter(_is_hashed_directory, (paths.capath, paths.openssl_capath, _SYSTEM)), None):
        context.load_verify_locations(capath=directory)
    else:
        import certifi  # comes with httpx; only if the system has no directory

        context.load_verify_locations(cafile=certifi.where())
    return context


def _is_hashed_directory(directory: str | None) -> bool:
    """Return whether OpenSSL can find certificates there by subject hash."""
    if not directory:
        return False
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED_NAME.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False
