"""OpenAI's embeddings API, and the hosts that copy it.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import binascii
import math
from array import array
from collections.abc import Mapping
from sys import byteorder
from typing import Any

from llmctl.core.chat import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.single_requests import EmbedRequest, EmbedResponse
from llmctl.wire.requests import build_post, build_url
from llmctl.wire.responses import (
    Vector,
    build_embed_response,
    classify_error,
    filter_objects,
    parse_body,
    parse_cost,
    parse_count,
    parse_vector,
    top_level_error,
)

#: Longer than any real embedding vector, whose length is about 1.
_MAX_VECTOR_LENGTH = 1e4


def build_embed_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector per text."""
    body = {"model": request.model, "input": list(request.texts)}
    body |= {name: value for name, value in request.options.items() if name not in body}
    return build_post(endpoint, build_url(endpoint, endpoint.dialect.embeddings_path), body)


def parse_embed_response(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors in the order of the texts; raise UnavailableError if their numbers differ."""
    answer = parse_body(body)
    if error := top_level_error(answer):
        raise error
    rows = answer.get("data")
    if not isinstance(rows, list) and answer.get("detail"):
        raise classify_error(answer)
    rows = filter_objects(rows)
    places = [row.get("index") for row in rows]
    if sorted(map(str, places)) == sorted(map(str, range(len(rows)))):
        rows.sort(key=lambda row: int(row["index"]))
    vectors = (_decode_vector(row.get("embedding")) for row in rows)
    return build_embed_response(vectors, request, _parse_usage(answer.get("usage")), answer.get("model"))


def _decode_vector(value: Any) -> Vector:
    """Return a vector: a list of numbers, or base64 of 32-bit floats (OpenAI) or signed bytes (Perplexity)."""
    if not isinstance(value, str):
        return parse_vector(value)
    try:
        data = binascii.a2b_base64(value)
    except ValueError:
        return ()
    floats = _decode_floats(data) if len(data) % 4 == 0 else ()
    return floats if floats and math.hypot(*floats) < _MAX_VECTOR_LENGTH else tuple(map(float, array("b", data)))


def _decode_floats(data: bytes) -> Vector:
    """Decode little-endian 32-bit floats."""
    numbers = array("f", data)
    if byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


def _parse_usage(data: Any) -> Usage | None:
    if not isinstance(data, Mapping) or not data:
        return None
    return Usage(
        input_tokens=parse_count(data, "prompt_tokens") or parse_count(data, "total_tokens"), cost=parse_cost(data)
    )
