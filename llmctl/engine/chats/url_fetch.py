"""Fetch a URL: from public addresses only, limited in size and time; redirects are checked the same way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import unquote, urljoin, urlsplit

from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError, UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.media_types import detect
from llmctl.engine.runtime import RuntimeEnv

#: No provider takes more in one request.
MAX_BYTES = 50_000_000
TIMEOUT_S = 60.0
_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class FetchedUrl:
    """A fetched file; ``url`` is its address after all redirects, and ``name`` the last part of the path."""

    url: str
    media_type: str
    data: bytes
    name: str | None


def fetch_url(url: str, runtime: RuntimeEnv, *, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> FetchedUrl:
    """Fetch a URL.

    Raises UsageError for an invalid URL, a private address and a file that is too large; NotFoundError,
    RejectedError and UnavailableError for the server's answer; UnavailableError where it cannot be reached.
    """
    deadline = monotonic() + timeout_s
    for _ in range(_MAX_REDIRECTS + 1):
        fetched = _fetch_once(url, runtime, max_bytes, deadline)
        if isinstance(fetched, FetchedUrl):
            return fetched
        url = fetched
    raise UnavailableError(f'"{url}" redirects too often', reason="redirect")


def _fetch_once(url: str, runtime: RuntimeEnv, max_bytes: int, deadline: float) -> FetchedUrl | str:
    """Return the file, or the URL that the server redirects to."""
    from llmctl.transport import client, ssrf  # httpx: not before a URL is fetched

    host, port = _parse_http_url(url)
    if runtime.offline and not client.is_loopback(host):
        raise UnavailableError(f'offline: "{host}" is not this machine', reason="offline")
    address = ssrf.resolve_addresses(host, port, private_allowed=runtime.private_fetch)[0]
    timeouts = client.Timeouts(first_byte=30.0, idle=30.0, total=max(0.001, deadline - monotonic()))
    request = HttpRequest("GET", url, {"accept": "*/*"})
    with client.send_request(request, timeouts, loopback_only=runtime.offline, address=address) as answer:
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            return urljoin(url, answer.headers["location"])
        if not 200 <= answer.status < 300:
            raise _status_error(url, answer.status)
        data = _read_limited(answer.chunks, url, max_bytes)
        name = os.path.basename(unquote(urlsplit(url).path)) or None
        return FetchedUrl(url, detect(name or "", data, answer.headers.get("content-type")), data, name)


def _parse_http_url(url: str) -> tuple[str, int]:
    """Return host and port; raise UsageError for a URL that must not be fetched."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise UsageError(f'"{url}" is not an HTTP URL') from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f'"{url}" is not an HTTP URL')
    if parts.username is not None:
        raise UsageError(
            f'the URL of "{parts.hostname}" contains a user name', hint="download the file and attach that"
        )
    return parts.hostname, port


def _read_limited(chunks: Iterable[bytes], url: str, max_bytes: int) -> bytes:
    received: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise UsageError(f'"{url}" is larger than {max_bytes // 1_000_000} MB', reason="too_large")
        received.append(chunk)
    return b"".join(received)


def _status_error(url: str, status: int) -> LlmctlError:
    message = f'cannot fetch "{url}": the server answered {status}'
    if status in (404, 410):
        return NotFoundError(message, reason="fetch", status_code=status)
    if status == 429 or status >= 500:
        return UnavailableError(message, reason="fetch", status_code=status)
    return RejectedError(message, reason="fetch", status_code=status)
