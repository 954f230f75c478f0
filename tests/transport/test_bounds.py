"""Bodies without end, and few bytes that stand for many: both stop early, in flat memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from llmctl.core.errors import UnavailableError
from llmctl.transport.decompression import DecompressionError, decompress
from llmctl.transport.sse import MAX_EVENT_BYTES, MAX_IGNORED_BYTES, parse_ndjson, parse_sse


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZIP", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "twice": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "both": ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    "not": ("identity", lambda data: data),
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[place : place + size] for place in range(0, len(data), size))


@pytest.mark.parametrize("name", list(PACKERS))
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_body_is_decompressed_however_it_is_cut(name: str, size: int) -> None:
    encoding, pack = PACKERS[name]
    data = bytes(range(256)) * 40 + b"data: x\n\n" * 20_000
    assert b"".join(decompress(cut(pack(data), size), encoding)) == data


@pytest.mark.parametrize("name", [name for name in PACKERS if name != "not"])
def test_bomb_stops_early_in_flat_memory(name: str) -> None:
    encoding, pack = PACKERS[name]
    bomb = pack(b"\0" * (200 << 20) if name in ("gzip", "twice") else b"\0" * (20 << 20))
    made: list[int] = []
    tracemalloc.start()
    with pytest.raises(DecompressionError):
        made += map(len, decompress([bomb], encoding))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(made) <= 5 << 20
    assert peak < 2 << 20


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_encoding_that_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(DecompressionError, match=encoding.rpartition(" ")[2]):
        list(decompress([b"x"], encoding))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_damaged_body_is_refused(encoding: str) -> None:
    with pytest.raises(DecompressionError, match="damaged"):
        list(decompress([b"hello"], encoding))


@pytest.mark.parametrize("line", [b": ping\n\n", b"event: x\n\n", b"\n" * 64, b"id: 7\nretry: 3\n"])
def test_flood_between_events_ends(line: bytes) -> None:
    taken = 0

    def flood() -> Iterator[bytes]:
        nonlocal taken
        for chunk in repeat(line * 100):
            taken += len(chunk)
            yield chunk

    with pytest.raises(UnavailableError) as raised:
        list(parse_sse(flood()))
    assert (raised.value.reason, raised.value.retryable) == ("too_large", False)
    assert taken < 2 * MAX_IGNORED_BYTES


def test_comments_of_a_long_wait_are_no_flood() -> None:
    ping = b": keep-alive\n\n" * 1000
    stream = (ping + b"data: x\n\n" for _ in range(200))
    assert len(list(parse_sse(stream))) == 200


@pytest.mark.parametrize("parse", [parse_sse, parse_ndjson], ids=["sse", "ndjson"])
def test_line_without_end_ends(parse: Callable[..., Iterator[object]]) -> None:
    with pytest.raises(UnavailableError) as raised:
        list(parse(repeat(b"data: " + b"x" * (1 << 20))))
    assert raised.value.reason == "too_large"


def test_event_of_endless_lines_ends() -> None:
    with pytest.raises(UnavailableError):
        list(parse_sse(repeat(b"data: " + b"x" * (1 << 20) + b"\n")))


def test_blank_lines_without_end_end() -> None:
    with pytest.raises(UnavailableError):
        list(parse_ndjson(repeat(b"\n" * 10_000)))


def test_large_event_is_read() -> None:
    picture = b"x" * (MAX_EVENT_BYTES - 100)
    assert len(next(iter(parse_sse([b"data: " + picture + b"\n\n"]))).data) == len(picture)
