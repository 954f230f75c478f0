"""What echo answers besides chats: vectors and pictures, small, and the same each time for the same words."""

from __future__ import annotations

import math
import re
import struct
import zlib
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.stored_json import dumps

_DIMENSIONS = 16
_MOST_DIMENSIONS = 4096
_MOST_PICTURES = 10
_MOST_PIXELS = 1024


def document(body: Mapping[str, Any], *, usage: bool) -> bytes:
    """Return the answer to such a body; raises ValueError that says what is wrong with it."""
    return dumps(_embeddings(body, usage) if "input" in body else _pictures(body)).encode()


def _embeddings(body: Mapping[str, Any], usage: bool) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
    size = _number(body, "dimensions", _DIMENSIONS, _MOST_DIMENSIONS)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(str(text), size)}
        for index, text in enumerate(texts)
    ]
    words = sum(len(str(text).split()) for text in texts)
    counts = {"usage": {"prompt_tokens": words, "total_tokens": words}} if usage else {}
    return {"object": "list", "data": data, "model": str(body.get("model") or "echo")} | counts


def _vector(text: str, size: int) -> list[float]:
    """Return a vector of length 1 that follows from the text."""
    numbers = [byte - 127.5 for byte in _bytes(text, size)]
    length = math.hypot(*numbers)
    return [round(number / length, 7) for number in numbers]


def _pictures(body: Mapping[str, Any]) -> dict[str, Any]:
    count = _number(body, "n", 1, _MOST_PICTURES)
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(body.get("size") or "8x8"))
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS):
        raise ValueError(f'"size" takes WIDTHxHEIGHT up to {_MOST_PIXELS}x{_MOST_PIXELS}, not "{body["size"]}"')
    pictures = [_png(f"{body['prompt']} {number}", width, height) for number in range(count)]
    return {"created": 0, "data": [{"b64_json": b2a_base64(png, newline=False).decode()} for png in pictures]}


def _png(words: str, width: int, height: int) -> bytes:
    """Return a picture of one colour: https://www.w3.org/TR/png-3/."""
    colour = bytes(_bytes(words, 3))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + colour * width) * height
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bytes(text: str, count: int) -> Iterator[int]:
    """Yield numbers from 0 to 255 that follow from a text."""
    for place in range(count):
        yield sha256(f"{place} {text}".encode("utf-8", "replace")).digest()[0]


def _number(body: Mapping[str, Any], name: str, usual: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return usual
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f'"{name}" takes a number from 1 to {most}, not "{value}"')
    return value
