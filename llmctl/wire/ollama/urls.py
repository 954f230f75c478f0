"""Addresses and bodies of Ollama's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.wire.urls import url_of

_DOORS = ("/v1", "/api")


def address(endpoint: Endpoint, path: str) -> str:
    """Return the address of a path below ``/api``; base URLs name the host, its ``/api``, or its OpenAI door."""
    base, mark, query = endpoint.base_url.partition("?")
    base = base.rstrip("/")
    for door in _DOORS:
        base = base.removesuffix(door)
    return url_of(endpoint._replace(base_url=base + mark + query), f"/api{path}")


def post(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> HttpRequest:
    """Return the request that posts a body."""
    headers = {"content-type": "application/json", "accept": "application/json"} | dict(endpoint.headers)
    return HttpRequest("POST", address(endpoint, path), headers, dumps(body).encode("utf-8", "replace"))
