"""Where a model is and what its name says: the model and what it shall do stand in the address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.wire.urls import url_of

_VERSION = r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)"
#: Version of what bears no number: gemini-flash-latest and whatever comes next.
_NEWEST = (99, 0)


def version_of(model: str) -> tuple[int, int]:
    """Return the generation that a name states, or one above all for a name that states none."""
    found = re.search(_VERSION, model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def address_of(endpoint: Endpoint, model: str, operation: str, **query: str) -> str:
    """Return the URL of an operation; a name with a path of its own (``tunedModels/x``) stands where it says."""
    name = model.strip().strip("/").removeprefix("models/")
    template = "/{model}" if "/" in name else endpoint.dialect.model_path
    path = template.replace("{model}", quote(name, safe="/"))
    return url_of(endpoint._replace(query={**query, **endpoint.query}), f"{path}:{operation}")


def post(endpoint: Endpoint, url: str, body: Mapping[str, object], accept: str = "application/json") -> HttpRequest:
    """Return the request that sends a JSON body."""
    headers = {"content-type": "application/json", "accept": accept} | dict(endpoint.headers)
    return HttpRequest("POST", url, headers, dumps(body).encode("utf-8", "replace"))
