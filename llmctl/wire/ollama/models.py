"""The models that a server has. https://docs.ollama.com/api/tags"""

from __future__ import annotations

from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.ollama.errors import stated_error
from llmctl.wire.ollama.urls import address


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list of models."""
    headers = {"accept": "application/json"} | dict(endpoint.headers)
    return HttpRequest("GET", address(endpoint, "/tags"), headers)


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the server's order, each with ``id`` and, where stated, ``parameters quantization``."""
    listing = whole_object(body)
    if listing.get("error"):
        raise stated_error(listing)
    if "models" not in listing:
        raise UnavailableError("the answer is no list of models", reason="no_answer", status_code=200)
    return [found for model in objects_of(listing["models"]) if (found := _model(model))["id"]]


def _model(entry: dict[str, Any]) -> dict[str, Any]:
    id = entry.get("model") or entry.get("name")
    details = entry.get("details")
    details = details if isinstance(details, dict) else {}
    facts = {
        "family": details.get("family"),
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "size_bytes": entry.get("size"),
        "created": entry.get("modified_at"),
    }
    known = {name: value for name, value in facts.items() if value}
    return {"id": id if isinstance(id, str) else ""} | known
