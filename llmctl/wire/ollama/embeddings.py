"""Embeddings. https://docs.ollama.com/api/embed"""

from __future__ import annotations

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.events import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.embedding_response import response_of, vector_of
from llmctl.wire.json_body import whole_object
from llmctl.wire.ollama.errors import stated_error
from llmctl.wire.ollama.request import split_options
from llmctl.wire.ollama.urls import post
from llmctl.wire.usage_numbers import count_of


def build_embed_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector a text; a text longer than the context is refused instead of cut."""
    body = {"model": request.model, "input": list(request.texts), "truncate": False}
    return post(endpoint, "/embed", body | split_options(request.options))


def parse_vectors(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors in the order of the texts; UnavailableError where there are not as many."""
    answer = whole_object(body)
    if answer.get("error"):
        raise stated_error(answer)
    rows = answer.get("embeddings")
    vectors = map(vector_of, rows if isinstance(rows, list) else ())
    usage = Usage(count_of(answer, "prompt_eval_count")) if "prompt_eval_count" in answer else None
    return response_of(vectors, request, usage, answer.get("model"))
