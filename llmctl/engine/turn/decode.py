"""Decode the bytes of an answer into events: the same for a live, an interrupted and a stored answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from llmctl.core.chat import (
    ChatResponse,
    ResponseBuilder,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
    buffer_incomplete_tail,
)
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.http import Dialect
from llmctl.core.stored_values import replace_surrogates, to_storable
from llmctl.providers import PROVIDERS
from llmctl.transport import sse
from llmctl.wire import WIRES, Wire

_BLANK = b" \t\r\n\xef\xbb\xbf"

_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")
#: Sums of counts must fit SQLite's integers, too.
_MAX_COUNT = 10**15


def decode_events(
    chunks: Iterable[bytes], wire: Wire, dialect: Dialect, renamed_tools: Mapping[str, str] | None = None
) -> Iterator[StreamEvent]:
    """Yield the events of an answer with a success status, as they come.

    The first byte distinguishes a stream from one document: some hosts answer a request for a stream with one
    document, and captive portals answer anything with a page. Where streams are lines (NDJSON), one document is a line
    too. Raises UnavailableError for a page and for an empty answer. A character that the host sent in two halves
    (surrogates) is joined. Every value can be stored: as UTF-8, and as JSON that has only finite numbers.
    ``renamed_tools``: sent name -> own name of tools.
    """
    parsed = _parse_events(chunks, wire, dialect)
    if renamed_tools:
        from llmctl.wire.tools import restore_names  # rare

        parsed = restore_names(parsed, renamed_tools)
    return map(_to_storable_event, buffer_incomplete_tail(parsed, _split_surrogate, lambda half: "\ufffd"))


def _to_storable_event(event: StreamEvent) -> StreamEvent:
    """Return an event whose names, ids and metadata can be stored; its text has been looked at already."""
    if isinstance(event, TextDelta) and not event.metadata:
        return event
    if isinstance(event, UsageReport):
        return UsageReport(_to_storable_usage(event.usage))
    return type(event)(*map(to_storable, event.to_dict().values()))


def _to_storable_usage(usage: Usage) -> Usage:
    """Return a usage whose counts fit the columns of the ledger; an absurd one counts as not reported."""
    counts = {name: value for name in _COUNTS if 0 <= (value := getattr(usage, name)) <= _MAX_COUNT}
    others = {name: to_storable(getattr(usage, name)) for name in ("cost", "details", "service_tier", "unknown")}
    return Usage(**counts, **others)


def _parse_events(chunks: Iterable[bytes], wire: Wire, dialect: Dialect) -> Iterator[StreamEvent]:
    first, rest = _peek(chunks)
    if not first:
        raise UnavailableError("the server sent an empty answer", reason="empty")
    if first in (b"[<" if wire.framing == "ndjson" else b"{[<"):
        yield from wire.parse_response(b"".join(rest), dialect)
    else:
        framed = sse.parse_ndjson(rest) if wire.framing == "ndjson" else sse.parse_sse(rest)
        yield from wire.parse_stream(framed, dialect)


def parse_stored_answer(
    raw: bytes, format: Mapping[str, Any], tool_names: Collection[str] = ()
) -> tuple[ChatResponse, LlmctlError | None]:
    """Read a stored answer with the current parser; return the response and the error that ended it, if any.

    ``format`` is the column of ``response_streams``: wire, provider, and tools that were sent under another name.
    ``tool_names`` were sent with the request.
    """
    total = ResponseBuilder(tool_names)
    try:
        for event in decode_events([raw] if raw else [], *wire_and_dialect(format), format.get("tools")):
            total.add(event)
    except LlmctlError as error:
        return total.build(), error
    return total.build(), None


def _split_surrogate(text: str) -> tuple[str, str]:
    """Split off a trailing high surrogate; other unpaired surrogates become U+FFFD."""
    if text.isascii():
        return text, ""
    end = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    return replace_surrogates(text[:-1] if end else text), end


def wire_and_dialect(format: Mapping[str, Any]) -> tuple[Wire, Dialect]:
    name = format.get("provider", "compatible")
    provider = PROVIDERS.load(name if name in PROVIDERS else "compatible")
    return WIRES.load(format.get("wire", provider.wire)), provider.dialect


def _peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first byte that is not white space, and an iterator over all chunks."""
    seen: list[bytes] = []
    source = iter(chunks)
    for chunk in source:
        seen.append(chunk)
        if text := chunk.lstrip(_BLANK):
            return text[:1], chain(seen, source)
    return b"", iter(seen)
