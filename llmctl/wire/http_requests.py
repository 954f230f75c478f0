"""Build the HTTP requests of every wire: URLs below a base URL, JSON bodies, headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


def build_url(endpoint: Endpoint, path: str) -> str:
    """Return base URL + path + query; a query in the base URL is kept."""
    base, _, query = endpoint.base_url.partition("?")
    query = "&".join(filter(None, (query, urlencode(endpoint.query))))
    return base.rstrip("/") + path + (f"?{query}" if query else "")


def build_get(endpoint: Endpoint, url: str) -> HttpRequest:
    """Return a GET request that accepts JSON."""
    return HttpRequest("GET", url, {"accept": JSON, **endpoint.headers})


def build_post(endpoint: Endpoint, url: str, body: Mapping[str, Any], *, accept: str = JSON) -> HttpRequest:
    """Return a POST request with a JSON body. Headers of the endpoint win."""
    return HttpRequest("POST", url, {"content-type": JSON, "accept": accept, **endpoint.headers}, encode_body(body))


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return the body as JSON bytes; lone surrogates become ``?``."""
    return dumps(body).encode("utf-8", "replace")
