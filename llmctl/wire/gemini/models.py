"""The list of models: https://ai.google.dev/api/models, and Vertex AI's publishers.models.list."""

from __future__ import annotations

from typing import Any

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.refusals import stated_error
from llmctl.wire.urls import url_of

#: Models of one page: all there are.
_PAGE = 1000
#: Our word for each fact, and theirs.
_FACTS = {
    "name": "displayName",
    "context_tokens": "inputTokenLimit",
    "max_output_tokens": "outputTokenLimit",
    "description": "description",
}
#: What a model is for, by the operation it knows.
_TYPES = (("generateContent", "chat"), ("embedContent", "embedding"), ("predict", "image"))


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list. Vertex AI's publishers stand beside the projects, not below them."""
    base, project, _ = endpoint.base_url.partition("/projects/")
    query = {} if project else {"pageSize": str(_PAGE)}
    path = endpoint.dialect.model_path.removesuffix("/{model}")
    url = url_of(endpoint._replace(base_url=base, query={**query, **endpoint.query}), path)
    return HttpRequest("GET", url, {"accept": "application/json"} | dict(endpoint.headers))


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the host's order, each with ``id`` and, where stated, ``name context_tokens
    max_output_tokens description type``. Raises for a page or an error in a 200.
    """
    answer = whole_object(body)
    if error := stated_error(answer):
        raise error
    found = objects_of(answer.get("models") or answer.get("publisherModels"))
    return [_model(entry) for entry in found if entry.get("name") and isinstance(entry["name"], str)]


def _model(entry: dict[str, Any]) -> dict[str, Any]:
    facts = {ours: entry[theirs] for ours, theirs in _FACTS.items() if entry.get(theirs)}
    methods = entry.get("supportedGenerationMethods")
    methods = methods if isinstance(methods, list) else []
    kind = next((kind for method, kind in _TYPES if method in methods), None)
    return {"id": entry["name"].rpartition("models/")[2]} | facts | ({"type": kind} if kind else {})
