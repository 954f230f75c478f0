"""Split bytes into frames: server-sent events and NDJSON, however the network cut them. Pure and incremental."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.http import ServerEvent

_BOM = b"\xef\xbb\xbf"


def parse_sse(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Yield server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).

    Unlike there, the last event is yielded even if its blank line is missing: the wire decides whether the stream
    was cut. Events without data, comments, ``id`` and ``retry`` are ignored. Invalid UTF-8 becomes U+FFFD.
    A line that begins as a JSON object, up to the next blank line, is an event too: servers and proxies append their
    error to a stream that broke.
    """
    data: list[bytes] = []
    event: str | None = None
    is_bare = False
    for line in _split_lines(chunks):
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
    """Yield each non-blank line."""
    for line in _split_lines(chunks):
        if line and not line.isspace():
            yield ServerEvent(line.decode("utf-8", "replace"))


def _decode(lines: list[bytes]) -> str:
    return (lines[0] if len(lines) == 1 else b"\n".join(lines)).decode("utf-8", "replace")


def _split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, ended by CR, LF or CRLF, as soon as their end arrives; the last line needs none.

    Pieces of an unfinished line are collected and joined once: a line of any length takes linear time.
    """
    pieces: list[bytes] = []
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
            continue
        pieces.append(chunk)
        *lines, rest = b"".join(pieces).split(b"\n")
        pieces = [rest]
        if first:
            first = False
            lines[0] = lines[0].removeprefix(_BOM)
        yield from lines
    if rest := b"".join(pieces):
        yield rest.removeprefix(_BOM) if first else rest
