"""The model list: https://ai.google.dev/api/models, and Vertex AI's publishers.models.list."""

from __future__ import annotations

from typing import Any

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.requests import build_get, build_url
from llmctl.wire.responses import filter_objects, parse_body, top_level_error

#: Models per page: enough for all of them.
_PAGE = 1000
#: Our name of each property -> Google's.
_FIELDS = {
    "name": "displayName",
    "context_tokens": "inputTokenLimit",
    "max_output_tokens": "outputTokenLimit",
    "description": "description",
}
#: Type of a model by the operation it supports.
_TYPES = (("generateContent", "chat"), ("embedContent", "embedding"), ("predict", "image"))


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list. Vertex AI lists publishers next to projects, not below them."""
    base, project, _ = endpoint.base_url.partition("/projects/")
    query = {} if project else {"pageSize": str(_PAGE)}
    path = endpoint.dialect.model_path.removesuffix("/{model}")
    url = build_url(endpoint.replace(base_url=base, query={**query, **endpoint.query}), path)
    return build_get(endpoint, url)


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the host's order, each with ``id`` and, if reported, ``name context_tokens
    max_output_tokens description type``. Raises the error of a page or of an error in a 200.
    """
    answer = parse_body(body)
    if error := top_level_error(answer):
        raise error
    found = filter_objects(answer.get("models") or answer.get("publisherModels"))
    return [_parse_model(entry) for entry in found if entry.get("name") and isinstance(entry["name"], str)]


def _parse_model(entry: dict[str, Any]) -> dict[str, Any]:
    details = {ours: entry[theirs] for ours, theirs in _FIELDS.items() if entry.get(theirs)}
    methods = entry.get("supportedGenerationMethods")
    methods = methods if isinstance(methods, list) else []
    kind = next((kind for method, kind in _TYPES if method in methods), None)
    return {"id": entry["name"].rpartition("models/")[2]} | details | ({"type": kind} if kind else {})
