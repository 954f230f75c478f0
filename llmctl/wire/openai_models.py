"""The model list of OpenAI and the hosts that copy it."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.requests import build_get, build_url
from llmctl.wire.responses import classify_error, not_json_error, top_level_error

#: Our name of each property -> the fields in which hosts report it.
_FIELDS = {
    "name": ("display_name", "displayName", "name"),
    "context_tokens": ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit"),
    "max_output_tokens": ("max_completion_tokens", "max_output_tokens", "outputTokenLimit"),
    "created": ("created",),
    "owned_by": ("owned_by",),
    "description": ("description",),
}


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list of models."""
    return build_get(endpoint, build_url(endpoint, endpoint.dialect.models_path))


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the host's order, each with ``id`` and, if reported, ``name context_tokens
    max_output_tokens created owned_by description``. Raises the error of a page or of an error in a 200.
    """
    try:
        listing = json.loads(body)
    except (ValueError, RecursionError):
        raise not_json_error(200, body) from None
    if isinstance(listing, dict):
        found = listing.get("data") or listing.get("models") or []
        if error := top_level_error(listing):
            raise error
        if not found and listing.get("detail"):
            raise classify_error(listing)
        listing = found
    if not isinstance(listing, list):
        raise UnavailableError("the response is not a list of models", reason="no_answer", status_code=200)
    return [model for entry in listing if (model := _parse_model(entry))["id"]]


def _parse_model(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        return {"id": entry if isinstance(entry, str) else ""}
    id = entry.get("id") or entry.get("name") or entry.get("model")
    details = {
        ours: entry[theirs[0]]
        for ours, names in _FIELDS.items()
        if (theirs := [name for name in names if entry.get(name) not in (None, "", id)])
    }
    return {"id": id.removeprefix("models/") if isinstance(id, str) else ""} | details
