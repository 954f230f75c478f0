"""From the bytes of an answer to its events: the same way for a live answer, a dead one and an old one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl.core.chat import ChatResponse, Fold
from llmctl.core.dialect import Dialect
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.events import StreamEvent
from llmctl.engine.turn.stream_buffer import hold_back
from llmctl.providers import PROVIDERS
from llmctl.transport import sse
from llmctl.wire import WIRES, Wire

_BLANK = b" \t\r\n\xef\xbb\xbf"


def events(chunks: Iterable[bytes], wire: Wire, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield what an answer with a status of success says, as it comes.

    Whether it is a stream or one document is told by its first byte: some hosts answer a request for a stream
    with one document, and captive portals answer anything with a page. A document is a line of its own where
    streams are lines. Raises UnavailableError for the latter and
    for an empty answer. A character that the host sent in two halves is whole.
    """
    return hold_back(_events(chunks, wire, dialect), _without_half, lambda half: "\ufffd")


def _events(chunks: Iterable[bytes], wire: Wire, dialect: Dialect) -> Iterator[StreamEvent]:
    first, rest = _peeked(chunks)
    if not first:
        raise UnavailableError("the server sent an empty answer", reason="empty")
    if first in (b"[<" if wire.framing == "ndjson" else b"{[<"):
        yield from wire.parse_response(b"".join(rest), dialect)
    else:
        framed = sse.ndjson(rest) if wire.framing == "ndjson" else sse.sse(rest)
        yield from wire.parse_stream(framed, dialect)


def fold_raw(raw: bytes, format: Mapping[str, Any]) -> tuple[ChatResponse, LlmctlError | None]:
    """Read a stored answer with today's parser; return what it says and the error that ended it, if one did.

    ``format`` is the column of ``response_streams``: wire and provider.
    """
    total = Fold()
    try:
        for event in events([raw] if raw else [], *_reader(format)):
            total.add(event)
    except LlmctlError as error:
        return total.response(), error
    return total.response(), None


def _without_half(text: str) -> tuple[str, str]:
    """Split off half a surrogate pair; what else of such halves has no partner becomes U+FFFD."""
    if text.isascii():
        return text, ""
    end = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    text = text[:-1] if end else text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text, end


def _reader(format: Mapping[str, Any]) -> tuple[Wire, Dialect]:
    name = format.get("provider", "compatible")
    provider = PROVIDERS.load(name if name in PROVIDERS else "compatible")
    return WIRES.load(format.get("wire", provider.wire)), provider.dialect


def _peeked(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first byte that is no white space, and all chunks including those it was found in."""
    seen: list[bytes] = []
    source = iter(chunks)
    for chunk in source:
        seen.append(chunk)
        if text := chunk.lstrip(_BLANK):
            return text[:1], _joined(seen, source)
    return b"", iter(seen)


def _joined(seen: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from seen
    yield from rest
