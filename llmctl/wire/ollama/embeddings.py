"""Embeddings. https://docs.ollama.com/api/embed"""

from __future__ import annotations

from llmctl.core.chat import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.single_requests import EmbedRequest, EmbedResponse
from llmctl.wire.ollama.errors import parse_embedded_error
from llmctl.wire.ollama.request import build_api_url, split_options
from llmctl.wire.requests import build_post
from llmctl.wire.responses import build_embed_response, parse_body, parse_count, parse_vector


def build_embed_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector per text; a text longer than the context is rejected instead of truncated."""
    body = {"model": request.model, "input": list(request.texts), "truncate": False}
    return build_post(endpoint, build_api_url(endpoint, "/embed"), body | split_options(request.options))


def parse_embed_response(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors in the order of the texts; raise UnavailableError if their numbers differ."""
    answer = parse_body(body)
    if answer.get("error"):
        raise parse_embedded_error(answer)
    rows = answer.get("embeddings")
    vectors = map(parse_vector, rows if isinstance(rows, list) else ())
    usage = Usage(parse_count(answer, "prompt_eval_count")) if "prompt_eval_count" in answer else None
    return build_embed_response(vectors, request, usage, answer.get("model"))
