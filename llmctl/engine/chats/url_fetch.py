"""Fetching what a URL stands for: from public addresses only, bounded in size and time, redirects checked alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import unquote, urljoin, urlsplit

from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError, UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.media_types import media_type
from llmctl.engine.turn.options import Surroundings

#: Bytes of a file that is sent along; no provider takes more in one request.
MOST_BYTES = 50_000_000
TIMEOUT_S = 60.0
_MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found; ``url`` is where, behind all redirects, and ``name`` the last part of its path."""

    url: str
    media_type: str
    data: bytes
    name: str | None


def fetch(url: str, around: Surroundings, *, most_bytes: int = MOST_BYTES, timeout_s: float = TIMEOUT_S) -> Fetched:
    """Fetch a URL. Raises UsageError for one that is none or leads to a private address, and where it is too large;

    NotFoundError, RejectedError and UnavailableError for what its server says, or where it cannot be reached.
    """
    ends = monotonic() + timeout_s
    for _ in range(_MOST_REDIRECTS + 1):
        found = _get(url, around, most_bytes, ends)
        if isinstance(found, Fetched):
            return found
        url = found
    raise UnavailableError(f'"{url}" redirects again and again', reason="redirect")


def _get(url: str, around: Surroundings, most_bytes: int, ends: float) -> Fetched | str:
    """Return what is there, or the URL that is named instead."""
    from llmctl.transport import client, ssrf  # httpx: not before something is fetched

    host, port = _checked(url)
    if around.offline and not client.is_loopback(host):
        raise UnavailableError(f'offline: "{host}" is beyond this machine', reason="offline")
    address = ssrf.addresses(host, port, private_allowed=around.private_fetch)[0]
    timeouts = client.Timeouts(first_byte=30.0, idle=30.0, total=max(0.001, ends - monotonic()))
    request = HttpRequest("GET", url, {"accept": "*/*"})
    with client.open(request, timeouts, loopback_only=around.offline, at=address) as answer:
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            return urljoin(url, answer.headers["location"])
        if not 200 <= answer.status < 300:
            raise _refusal(url, answer.status)
        data = _bounded(answer.chunks, url, most_bytes)
        name = os.path.basename(unquote(urlsplit(url).path)) or None
        return Fetched(url, media_type(name or "", data, answer.headers.get("content-type")), data, name)


def _checked(url: str) -> tuple[str, int]:
    """Return host and port; raise UsageError for what nobody should fetch."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise UsageError(f'"{url}" is no http address') from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f'"{url}" is no http address')
    if parts.username is not None:
        raise UsageError(f'the URL of "{parts.hostname}" holds a user name', hint="download it and give the file")
    return parts.hostname, port


def _bounded(chunks: Iterable[bytes], url: str, most_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in chunks:
        size += len(piece)
        if size > most_bytes:
            raise UsageError(f'"{url}" is larger than {most_bytes // 1_000_000} MB', reason="too_large")
        pieces.append(piece)
    return b"".join(pieces)


def _refusal(url: str, status: int) -> LlmctlError:
    message = f'cannot fetch "{url}": its server says {status}'
    if status in (404, 410):
        return NotFoundError(message, reason="fetch", status_code=status)
    if status == 429 or status >= 500:
        return UnavailableError(message, reason="fetch", status_code=status)
    return RejectedError(message, reason="fetch", status_code=status)
