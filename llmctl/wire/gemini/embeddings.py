"""Embeddings: batchEmbedContents of AI Studio, predict and embedContent of Vertex AI.

https://ai.google.dev/api/embeddings,
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from typing import Any

from llmctl.core.chat import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.single_requests import EmbedRequest, EmbedResponse
from llmctl.wire.gemini.events import parse_usage
from llmctl.wire.gemini.request import build_model_url
from llmctl.wire.requests import build_post
from llmctl.wire.responses import (
    build_embed_response,
    filter_objects,
    get_object,
    parse_body,
    parse_count,
    parse_vector,
    top_level_error,
)

_SIZE_OPTIONS = ("dimensions", "output_dimensionality", "outputDimensionality")


def build_embed_request(endpoint: Endpoint, request: EmbedRequest) -> HttpRequest:
    """Return the request for one vector per text; ``dimensions`` is the common name of the vector size."""
    options = {name: value for name, value in request.options.items() if name not in _SIZE_OPTIONS}
    size = next((request.options[name] for name in _SIZE_OPTIONS if name in request.options), None)
    operation = endpoint.dialect.embed_operation
    build = _build_predict_body if operation == "predict" else _build_batch_body
    return build_post(endpoint, build_model_url(endpoint, request.model, operation), build(request, size, options))


def parse_embed_response(body: bytes, request: EmbedRequest) -> EmbedResponse:
    """Return the vectors; raise UnavailableError if their number differs from that of the texts."""
    answer = parse_body(body)
    if error := top_level_error(answer):
        raise error
    found = filter_objects(answer.get("embeddings")) or filter_objects([answer.get("embedding")])
    if predictions := filter_objects(answer.get("predictions")):
        found = filter_objects([row.get("embeddings") for row in predictions])
    counted = parse_usage(get_object(answer, "usageMetadata"))
    usage = counted.replace(unknown=None) if counted else _count_tokens(found)  # vectors have no output tokens
    return build_embed_response((parse_vector(one.get("values")) for one in found), request, usage, None)


def _build_batch_body(request: EmbedRequest, size: Any, options: dict[str, Any]) -> dict[str, Any]:
    common = {"model": f"models/{request.model.removeprefix('models/')}"} | options
    common |= {"outputDimensionality": size} if size else {}
    return {"requests": [common | {"content": {"parts": [{"text": text}]}} for text in request.texts]}


def _build_predict_body(request: EmbedRequest, size: Any, options: dict[str, Any]) -> dict[str, Any]:
    about = {name: options.pop(name) for name in ("task_type", "title") if name in options}
    parameters = options | ({"outputDimensionality": size} if size else {})
    instances = [{"content": text} | about for text in request.texts]
    return {"instances": instances} | ({"parameters": parameters} if parameters else {})


def _count_tokens(found: list[dict[str, Any]]) -> Usage | None:
    """Return the total of the tokens that Vertex AI reports per text."""
    counts = [parse_count(get_object(one, "statistics"), "token_count") for one in found]
    return Usage(input_tokens=sum(counts)) if any(counts) else None
