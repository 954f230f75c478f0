"""The model list. https://platform.claude.com/docs/en/api/models/list"""

from __future__ import annotations

from typing import Any

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.anthropic.request import build_api_url, build_headers
from llmctl.wire.openai_models import parse_models as parse_listing


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for all models at once: the default page size is 20."""
    url = build_api_url(endpoint, "/models")
    url += ("&" if "?" in url else "?") + "limit=1000"
    return HttpRequest("GET", url, build_headers(endpoint, "application/json"))


def parse_models(body: bytes) -> list[dict[str, Any]]:
    """Return the models in the host's order, each with ``id`` and, if reported, ``name context_tokens …``."""
    return parse_listing(body)
