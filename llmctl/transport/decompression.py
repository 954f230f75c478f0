"""Decompress a body piece by piece: a few bytes that stand for gigabytes take no more memory than others."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

#: What requests say they accept.
ACCEPTED = "gzip, deflate"

#: The most that is decompressed at once.
_PIECE_BYTES = 65_536
#: A stream of small events, which repeat most of their bytes, shrinks to a thirtieth; zlib's limit is a thousandth.
#: A body that shrinks more than this is no answer, once it is longer than any that is all spaces may be.
_MAX_RATIO, _UNSUSPICIOUS_BYTES = 200, 4 * 1024 * 1024

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class DecompressionError(ValueError):
    """A body that is not what its headers say, or a bomb."""


def decompress(chunks: Iterable[bytes], content_encoding: str) -> Iterator[bytes]:
    """Yield the bytes of a body with that ``Content-Encoding``, in pieces of limited size."""
    names = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    for name in reversed(names):
        if name not in _WINDOW_BITS:
            raise DecompressionError(f'it is compressed as "{name[:20]}"')
        chunks = _inflate(chunks, name)
    return iter(chunks)


def _inflate(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    first, rest = _take(iter(chunks), 2)
    # Some servers leave out the header when they say "deflate".
    is_bare = name == "deflate" and not _has_zlib_header(first)
    decoder = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else _WINDOW_BITS[name])
    received = made = 0
    try:
        for chunk in chain([first], rest):
            received += len(chunk)
            for piece in _inflate_chunk(decoder, chunk):
                made += len(piece)
                if made > max(_UNSUSPICIOUS_BYTES, (received - len(decoder.unconsumed_tail)) * _MAX_RATIO):
                    raise DecompressionError("it is a decompression bomb")
                yield piece
    except zlib.error as error:
        raise DecompressionError("it is damaged") from error


def _take(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return at least that many bytes, if there are so many, and the chunks after them."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= size:
            break
    return first, chunks


def _inflate_chunk(decoder: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    while not decoder.eof:
        piece = decoder.decompress(chunk, _PIECE_BYTES)
        chunk = decoder.unconsumed_tail
        if piece:
            yield piece
        if not chunk and len(piece) < _PIECE_BYTES:
            return


def _has_zlib_header(chunk: bytes) -> bool:
    """Return whether data begins as RFC 1950 has it: method 8, and a check over two bytes."""
    return len(chunk) < 2 or (chunk[0] & 15 == 8 and (chunk[0] << 8 | chunk[1]) % 31 == 0)
