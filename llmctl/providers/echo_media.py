"""Embeddings and images of the echo provider: small, and always the same for the same text."""

from __future__ import annotations

import math
import re
import struct
import zlib
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.stored_values import dumps

_DIMENSIONS = 16
_MAX_DIMENSIONS = 4096
_MAX_IMAGES = 10
_MAX_PIXELS = 1024


def document(body: Mapping[str, Any], *, usage: bool) -> bytes:
    """Return the response to a request body; raise ValueError if it is invalid."""
    return dumps(_encode_embeddings(body, usage) if "input" in body else _encode_images(body)).encode()


def _encode_embeddings(body: Mapping[str, Any], usage: bool) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
    size = _parse_number(body, "dimensions", _DIMENSIONS, _MAX_DIMENSIONS)
    data = [
        {"object": "embedding", "index": index, "embedding": _make_vector(str(text), size)}
        for index, text in enumerate(texts)
    ]
    words = sum(len(str(text).split()) for text in texts)
    counts = {"usage": {"prompt_tokens": words, "total_tokens": words}} if usage else {}
    return {"object": "list", "data": data, "model": str(body.get("model") or "echo")} | counts


def _make_vector(text: str, size: int) -> list[float]:
    """Return a unit vector derived from the text."""
    numbers = [byte - 127.5 for byte in _hash_bytes(text, size)]
    length = math.hypot(*numbers)
    return [round(number / length, 7) for number in numbers]


def _encode_images(body: Mapping[str, Any]) -> dict[str, Any]:
    count = _parse_number(body, "n", 1, _MAX_IMAGES)
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(body.get("size") or "8x8"))
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < width <= _MAX_PIXELS and 0 < height <= _MAX_PIXELS):
        raise ValueError(f'"size" must be WIDTHxHEIGHT up to {_MAX_PIXELS}x{_MAX_PIXELS}, got "{body["size"]}"')
    images = [_make_png(f"{body['prompt']} {number}", width, height) for number in range(count)]
    return {"created": 0, "data": [{"b64_json": b2a_base64(png, newline=False).decode()} for png in images]}


def _make_png(words: str, width: int, height: int) -> bytes:
    """Return an image of one color: https://www.w3.org/TR/png-3/."""
    color = bytes(_hash_bytes(words, 3))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + color * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", head)
        + _png_chunk(b"IDAT", zlib.compress(rows))
        + _png_chunk(b"IEND", b"")
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _hash_bytes(text: str, count: int) -> Iterator[int]:
    """Yield numbers from 0 to 255 derived from the text."""
    for place in range(count):
        yield sha256(f"{place} {text}".encode("utf-8", "replace")).digest()[0]


def _parse_number(body: Mapping[str, Any], name: str, default: int, maximum: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= maximum:
        raise ValueError(f'"{name}" must be a number from 1 to {maximum}, got "{value}"')
    return value
