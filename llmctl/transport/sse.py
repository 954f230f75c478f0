"""Split bytes into frames: server-sent events and NDJSON, however the network cut them. Pure and incremental."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.errors import UnavailableError
from llmctl.core.http import ServerEvent

_BOM = b"\xef\xbb\xbf"

#: An event may hold a whole picture: the largest that hosts make are 25 MB in base64.
MAX_EVENT_BYTES = 32 * 1024**2
#: Comments say that the host is alive, some bytes a second: this many in a day.
MAX_IGNORED_BYTES = 1024**2


def parse_sse(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).

    Unlike there, the last event is yielded even if its blank line is missing: the wire decides whether the stream
    was cut. Events without data, comments, ``id`` and ``retry`` are ignored. Invalid UTF-8 becomes U+FFFD.
    A line that begins as a JSON object, up to the next blank line, is an event too: servers and proxies append their
    error to a stream that broke. Raises UnavailableError (``too_large``) for an event, or for what is between two,
    that no host means.
    """
    data: list[bytes] = []
    event: str | None = None
    is_bare = False
    for line in _limit_events(_split_lines(chunks)):
        if line[:5] == b"data:":
            if is_bare:
                yield ServerEvent(_decode(data), event)
                data, is_bare = [], False
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            if data:
                yield ServerEvent(_decode(data), event)
                data = []
            event, is_bare = None, False
        elif is_bare:
            data.append(line)
        elif line[:1] == b"{":
            if data:
                yield ServerEvent(_decode(data), event)
            data, event, is_bare = [line], None, True
        elif line[:6] == b"event:":
            event = line[6:].removeprefix(b" ").decode("utf-8", "replace") or None
        elif line == b"data":
            data.append(b"")
    if data:
        yield ServerEvent(_decode(data), event)


def parse_ndjson(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield each non-blank line. Raises as :func:`parse_sse` does."""
    ignored = 0
    for line in _split_lines(chunks):
        if line and not line.isspace():
            ignored = 0
            yield ServerEvent(line.decode("utf-8", "replace"))
            continue
        ignored += len(line) + 1
        if ignored > MAX_IGNORED_BYTES:
            raise _too_large_error("what the host sends between two lines", MAX_IGNORED_BYTES)


def _limit_events(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of server-sent events while none is too large, nor what is ignored between two."""
    size = ignored = 0
    for line in lines:
        if line[:5] == b"data:":
            size, ignored = size + len(line), 0
            if size > MAX_EVENT_BYTES:
                raise _too_large_error("an event", MAX_EVENT_BYTES)
        elif not line and size:
            size = ignored = 0
        else:
            ignored += len(line) + 1
            if ignored > MAX_IGNORED_BYTES:
                raise _too_large_error("what the host sends between two events", MAX_IGNORED_BYTES)
        yield line


def _too_large_error(what: str, limit: int) -> UnavailableError:
    error = UnavailableError(f"{what} is larger than {limit // 1024**2} MiB", reason="too_large")
    error.retryable = False
    return error


def _decode(lines: list[bytes]) -> str:
    return (lines[0] if len(lines) == 1 else b"\n".join(lines)).decode("utf-8", "replace")


def _split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, ended by CR, LF or CRLF, as soon as their end arrives; the last line needs none.

    Pieces of an unfinished line are collected and joined once: a line of any length takes linear time.
    """
    pieces: list[bytes] = []
    size = 0
    after_cr = False
    first = True
    for chunk in chunks:
        if after_cr and chunk:  # the LF of a CRLF that was split
            chunk = chunk.removeprefix(b"\n")
            after_cr = False
        if b"\r" in chunk:
            after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            pieces.append(chunk)
            size += len(chunk)
            if size > MAX_EVENT_BYTES:
                raise _too_large_error("a line", MAX_EVENT_BYTES)
            continue
        pieces.append(chunk)
        *lines, rest = b"".join(pieces).split(b"\n")
        pieces, size = [rest], len(rest)
        if first:
            first = False
            lines[0] = lines[0].removeprefix(_BOM)
        yield from lines
    if rest := b"".join(pieces):
        yield rest.removeprefix(_BOM) if first else rest
