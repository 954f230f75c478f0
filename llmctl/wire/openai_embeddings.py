"""Embeddings as OpenAI has them, and the hosts that copy it.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import binascii
import math
from array import array
from collections.abc import Mapping
from sys import byteorder
from typing import Any

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.events import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.wire.embedding_response import Vector, response_of, vector_of
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.refusals import error_of, stated_error
from llmctl.wire.urls import url_of
from llmctl.wire.usage_numbers import cost_of, count_of

#: Longer than any vector that somebody means: embeddings have a length of about 1.
_LONGEST = 1e4


def build_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector a text."""
    headers = {"content-type": "application/json", "accept": "application/json"} | dict(endpoint.headers)
    body = {"model": request.model, "input": list(request.texts)}
    body |= {name: value for name, value in request.options.items() if name not in body}
    return HttpRequest(
        "POST", url_of(endpoint, endpoint.dialect.embeddings_path), headers, dumps(body).encode("utf-8", "replace")
    )


def parse_response(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors in the order of the texts; UnavailableError where there are not as many."""
    answer = whole_object(body)
    if error := stated_error(answer):
        raise error
    rows = answer.get("data")
    if not isinstance(rows, list) and answer.get("detail"):
        raise error_of(answer)
    rows = objects_of(rows)
    places = [row.get("index") for row in rows]
    if sorted(map(str, places)) == sorted(map(str, range(len(rows)))):
        rows.sort(key=lambda row: int(row["index"]))
    vectors = (_vector(row.get("embedding")) for row in rows)
    return response_of(vectors, request, _usage(answer.get("usage")), answer.get("model"))


def _vector(value: Any) -> Vector:
    """Return a vector: a list of numbers, or base64 of 32-bit floats (OpenAI) or of signed bytes (Perplexity)."""
    if not isinstance(value, str):
        return vector_of(value)
    try:
        data = binascii.a2b_base64(value)
    except ValueError:
        return ()
    floats = _floats(data) if len(data) % 4 == 0 else ()
    return floats if floats and math.hypot(*floats) < _LONGEST else tuple(map(float, array("b", data)))


def _floats(data: bytes) -> Vector:
    """Read little-endian 32-bit floats."""
    numbers = array("f", data)
    if byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


def _usage(data: Any) -> Usage | None:
    if not isinstance(data, Mapping) or not data:
        return None
    return Usage(input_tokens=count_of(data, "prompt_tokens") or count_of(data, "total_tokens"), cost=cost_of(data))
