"""Embeddings: batchEmbedContents of AI Studio, predict and embedContent of Vertex AI.

https://ai.google.dev/api/embeddings,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from typing import Any

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.events import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.embedding_response import response_of, vector_of
from llmctl.wire.gemini.urls import address_of, post
from llmctl.wire.gemini.usage import parse_usage
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.refusals import stated_error
from llmctl.wire.usage_numbers import count_of, object_in

_SIZE = ("dimensions", "output_dimensionality", "outputDimensionality")


def build_embed_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector a text; ``dimensions`` is the common name of their size."""
    options = {name: value for name, value in request.options.items() if name not in _SIZE}
    size = next((request.options[name] for name in _SIZE if name in request.options), None)
    operation = endpoint.dialect.embed_operation
    build = _predict if operation == "predict" else _batch
    return post(endpoint, address_of(endpoint, request.model, operation), build(request, size, options))


def parse_vectors(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors; UnavailableError where there are not as many as texts."""
    answer = whole_object(body)
    if error := stated_error(answer):
        raise error
    found = objects_of(answer.get("embeddings")) or objects_of([answer.get("embedding")])
    if predictions := objects_of(answer.get("predictions")):
        found = objects_of([row.get("embeddings") for row in predictions])
    usage = parse_usage(object_in(answer, "usageMetadata")) or _statistics(found)
    return response_of((vector_of(one.get("values")) for one in found), request, usage, None)


def _batch(request: EmbedRequest, size: Any, options: dict[str, Any]) -> dict[str, Any]:
    common = {"model": f"models/{request.model.removeprefix('models/')}"} | options
    common |= {"outputDimensionality": size} if size else {}
    return {"requests": [common | {"content": {"parts": [{"text": text}]}} for text in request.texts]}


def _predict(request: EmbedRequest, size: Any, options: dict[str, Any]) -> dict[str, Any]:
    about = {name: options.pop(name) for name in ("task_type", "title") if name in options}
    parameters = options | ({"outputDimensionality": size} if size else {})
    instances = [{"content": text} | about for text in request.texts]
    return {"instances": instances} | ({"parameters": parameters} if parameters else {})


def _statistics(found: list[dict[str, Any]]) -> Usage | None:
    """Return the tokens that Vertex AI counts text by text."""
    counts = [count_of(object_in(one, "statistics"), "token_count") for one in found]
    return Usage(input_tokens=sum(counts)) if any(counts) else None
