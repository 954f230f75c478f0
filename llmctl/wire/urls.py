"""Addresses below a base URL."""

from __future__ import annotations

from urllib.parse import urlencode

from llmctl.core.http import Endpoint


def url_of(endpoint: Endpoint, path: str) -> str:
    """Return base URL + path + query; a query that the base URL itself carries is kept."""
    base, _, query = endpoint.base_url.partition("?")
    query = "&".join(filter(None, (query, urlencode(endpoint.query))))
    return base.rstrip("/") + path + (f"?{query}" if query else "")
