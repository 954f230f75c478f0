"""What echo answers besides chats, through the wire that asks it."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import pytest

from llmctl.core.http import Endpoint
from llmctl.core.single_requests import EmbedRequest, ImageRequest
from llmctl.providers import echo
from llmctl.wire import WIRES

WIRE = WIRES.load("echo")
ENDPOINT = Endpoint("echo://localhost", dialect=echo.PROVIDER.dialect)


def vectors(*texts: str, **options: Any) -> list[tuple[float, ...]]:
    assert WIRE.embeddings
    request = EmbedRequest("echo", texts, options)
    answer = echo.respond(json.loads(WIRE.embeddings.build_request(ENDPOINT, request).body))
    assert answer.status == 200
    return list(WIRE.embeddings.parse_response(b"".join(answer.chunks), request).vectors)


def pictures(prompt: str, **options: Any) -> list[bytes | None]:
    assert WIRE.images
    request = ImageRequest("echo", prompt, (), options)
    answer = echo.respond(json.loads(WIRE.images.build_request(ENDPOINT, request).body))
    assert answer.status == 200
    return [image.data for image in WIRE.images.parse_response(b"".join(answer.chunks)).images]


def test_vectors_have_length_one_and_follow_from_the_text() -> None:
    first, second, again = vectors("one", "two", "one")
    assert first == again != second
    assert math.hypot(*first) == pytest.approx(1)
    assert len(vectors("one", dimensions=300)[0]) == 300


def test_pictures_are_png_of_the_size_that_was_asked_for() -> None:
    first, second = pictures("a lighthouse", n=2, size="5x3")
    assert first
    assert second
    assert first != second
    assert first == pictures("a lighthouse", size="5x3")[0]
    assert (int.from_bytes(first[16:20]), int.from_bytes(first[20:24])) == (5, 3)
    data = first[first.index(b"IDAT") + 4 : first.index(b"IEND") - 8]
    assert len(zlib.decompress(data)) == 3 * (1 + 5 * 3)


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x", "dimensions": 0},
        {"input": "x", "dimensions": "many"},
        {"prompt": "x", "size": "huge"},
        {"prompt": "x", "size": "9999x9999"},
        {"prompt": "x", "n": 11},
        {"prompt": "x", "unheard_of": 1},
    ],
)
def test_what_cannot_be_made_is_refused(body: dict[str, Any]) -> None:
    answer = echo.respond(body)
    assert answer.status == 400
    assert isinstance(WIRE.parse_error(400, {}, b"".join(answer.chunks)).message, str)


def test_failures_apply_to_embeddings_and_images_too() -> None:
    assert echo.respond({"input": "x", "fail": "429"}).status == 429
    assert echo.respond({"input": "x", "fail": "429", "fail_times": 1}, 2).status == 200
    assert b"html" in b"".join(echo.respond({"prompt": "x", "html": True}).chunks)
    assert b"".join(echo.respond({"prompt": "x", "empty": True}).chunks) == b""
    assert "usage" not in json.loads(b"".join(echo.respond({"input": "x", "usage": False}).chunks))
