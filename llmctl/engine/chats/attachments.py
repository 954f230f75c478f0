"""Read and fetch attachments, and check what a model accepts: new files must fit, unsupported old ones are left out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import unquote, urljoin, urlsplit

from llmctl.core.chat import SOURCE_URL_KEY, File, Message, Part, Text
from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError, UnavailableError, UsageError
from llmctl.core.http import Dialect, HttpRequest
from llmctl.engine.connections.target import Target
from llmctl.engine.runtime import RuntimeEnv
from llmctl.wire import WIRES, Wire

#: No provider takes more in one request, and every later turn of the chat sends it again.
MAX_BYTES = 50_000_000


def read_attachment(name: str) -> File:
    """Return an attachment: a URL as it is, a file with its content.

    Raises NotFoundError, and UsageError for a file that is empty or too large.
    """
    if name.lower().startswith(("https://", "http://")):
        return _attachment_from_url(name)
    display_name = os.path.basename(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        with open(name, "rb") as file:
            return attachment_from_bytes(file.read(MAX_BYTES + 1), display_name)
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error


def attachment_from_bytes(data: bytes, name: str | None = None) -> File:
    """Return an attachment of these bytes; without a name they came from stdin."""
    source = f'"{name}"' if name else "standard input"
    if not data:
        raise UsageError(f"{source} is empty: there is nothing to attach")
    if len(data) > MAX_BYTES:
        raise UsageError(f"{source} is larger than {MAX_BYTES // 1_000_000} MB", reason="too_large")
    from llmctl.core.media_types import detect  # most turns have no files

    return File(detect(name or "", data), data=data, name=name)


def prepare_files(files: Iterable[File], target: Target, runtime: RuntimeEnv | None) -> tuple[File, ...]:
    """Return new files as the model takes them; URLs that its provider cannot fetch are fetched here.

    Without ``runtime`` nothing is fetched, and such files are empty. Raises RejectedError (``unsupported_media``)
    for a file that the model cannot take, and what :func:`fetch_url` raises.
    """
    return tuple(_prepare_file(file, target, runtime) for file in files)


def drop_unsupported_files(messages: Iterable[Message], target: Target) -> tuple[tuple[Message, ...], list[str]]:
    """Return the messages without the files that this model cannot take, and the names of those."""
    return drop_unsupported_files_for(messages, WIRES.load(target.wire), target.provider.dialect)


def drop_unsupported_files_for(
    messages: Iterable[Message], wire: Wire, dialect: Dialect
) -> tuple[tuple[Message, ...], list[str]]:
    """Do the same as :func:`drop_unsupported_files` for a wire and a dialect of it."""
    dropped: list[str] = []

    def replace_unsupported(part: Part) -> Part:
        if not isinstance(part, File) or wire.accepts(part.media_type, part.data is None, dialect):
            return part
        dropped.append(_display_name(part))
        return Text(f'[the file "{_display_name(part)}" ({part.media_type}) cannot be shown to you]')

    supported = tuple(
        message.replace(parts=tuple(map(replace_unsupported, message.parts)))
        if any(isinstance(part, File) for part in message.parts)
        else message
        for message in messages
    )
    return supported, dropped


def _prepare_file(file: File, target: Target, runtime: RuntimeEnv | None) -> File:
    from llmctl.core.media_types import UNKNOWN  # most turns have no files

    if file.data is None and not _is_supported(file, target):
        file = _fetch_file(file, runtime) if runtime else file.replace(url=None, data=b"")
        if not runtime and file.media_type == UNKNOWN:  # only the content would tell
            return file.replace(media_type="text/plain")
    if not _is_supported(file, target):
        raise RejectedError(
            f'{target.model or target.provider.name} does not accept {file.media_type}: "{_display_name(file)}"',
            hint="convert it to text, PDF or an image, or choose another model with -m",
            reason="unsupported_media",
        )
    return file


def _fetch_file(file: File, runtime: RuntimeEnv) -> File:
    assert file.url

    fetched = fetch_url(file.url, runtime)
    if not fetched.data:
        raise UsageError(f'"{file.url}" is empty')
    return File(fetched.media_type, data=fetched.data, name=fetched.name, metadata={SOURCE_URL_KEY: file.url})


def _is_supported(file: File, target: Target) -> bool:
    wire = WIRES.load(target.wire)
    return wire.accepts(file.media_type, file.data is None, target.provider.dialect)


def _display_name(file: File) -> str:
    return file.name or file.url or "attachment"


def _attachment_from_url(url: str) -> File:
    try:
        parts = urlsplit(url)
        is_valid = parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(f'"{url}" is not an HTTP URL')
    if parts.username is not None:
        raise UsageError(f'the URL of "{parts.hostname}" contains a user name', hint="download the file and attach it")
    from llmctl.core.media_types import guess_from_name  # most turns have no files

    return File(guess_from_name(parts.path), url=url, name=os.path.basename(unquote(parts.path)) or None)


# --- URLs: from public addresses only, limited in size and time; redirects are checked the same way


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
    raise UnavailableError(f'"{url}" redirects too many times', reason="redirect")


def _fetch_once(url: str, runtime: RuntimeEnv, max_bytes: int, deadline: float) -> FetchedUrl | str:
    """Return the file, or the URL that the server redirects to."""
    from llmctl.transport import client, ssrf  # httpx: not before a URL is fetched

    host, port = _parse_http_url(url)
    if runtime.offline and not client.is_loopback(host):
        raise UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline")
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
        from llmctl.core.media_types import detect

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
        raise UsageError(f'the URL of "{parts.hostname}" contains a user name', hint="download the file and attach it")
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
