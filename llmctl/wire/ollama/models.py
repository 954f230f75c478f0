"""The models of a server. https://docs.ollama.com/api/tags"""

from __future__ import annotations

from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.ollama.errors import parse_embedded_error
from llmctl.wire.ollama.request import build_api_url
from llmctl.wire.requests import build_get
from llmctl.wire.responses import filter_objects, parse_body


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list of models."""
    return build_get(endpoint, build_api_url(endpoint, "/tags"))


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the server's order, each with ``id`` and, if reported, ``parameters quantization``."""
    listing = parse_body(body)
    if listing.get("error"):
        raise parse_embedded_error(listing)
    if "models" not in listing:
        raise UnavailableError("the response is not a list of models", reason="no_answer", status_code=200)
    return [found for model in filter_objects(listing["models"]) if (found := _parse_model(model))["id"]]


def _parse_model(entry: dict[str, Any]) -> dict[str, Any]:
    id = entry.get("model") or entry.get("name")
    details = entry.get("details")
    details = details if isinstance(details, dict) else {}
    details_by_name = {
        "family": details.get("family"),
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "size_bytes": entry.get("size"),
        "created": entry.get("modified_at"),
    }
    known = {name: value for name, value in details_by_name.items() if value}
    return {"id": id if isinstance(id, str) else ""} | known
