"""The list of models that OpenAI and the hosts that copy it offer."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.refusals import error_of, page_error, stated_error
from llmctl.wire.urls import url_of

#: Our word for each fact, and the fields in which hosts state it.
_FACTS = {
    "name": ("display_name", "displayName", "name"),
    "context_tokens": ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit"),
    "max_output_tokens": ("max_completion_tokens", "max_output_tokens", "outputTokenLimit"),
    "created": ("created",),
    "owned_by": ("owned_by",),
    "description": ("description",),
}


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for the list of models."""
    headers = {"accept": "application/json"} | dict(endpoint.headers)
    return HttpRequest("GET", url_of(endpoint, endpoint.dialect.models_path), headers)


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the host's order, each with ``id`` and, where stated, ``name context_tokens
    max_output_tokens created owned_by description``. Raises for a page or an error in a 200.
    """
    try:
        listing = json.loads(body)
    except (ValueError, RecursionError):
        raise page_error(200, body) from None
    if isinstance(listing, dict):
        found = listing.get("data") or listing.get("models") or []
        if error := stated_error(listing):
            raise error
        if not found and listing.get("detail"):
            raise error_of(listing)
        listing = found
    if not isinstance(listing, list):
        raise UnavailableError("the answer is no list of models", reason="no_answer", status_code=200)
    return [model for entry in listing if (model := _model(entry))["id"]]


def _model(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        return {"id": entry if isinstance(entry, str) else ""}
    id = entry.get("id") or entry.get("name") or entry.get("model")
    facts = {
        ours: entry[theirs[0]]
        for ours, names in _FACTS.items()
        if (theirs := [name for name in names if entry.get(name) not in (None, "", id)])
    }
    return {"id": id.removeprefix("models/") if isinstance(id, str) else ""} | facts
