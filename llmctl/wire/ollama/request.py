"""Build the HTTP request of a :class:`ChatRequest`. https://docs.ollama.com/api/chat"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.http_requests import build_post, build_url
from llmctl.wire.ollama.messages import encode_messages
from llmctl.wire.reasoning_effort import to_effort_level

_RESERVED_OPTIONS = ("model", "messages", "stream")
#: Options beside ``options``, which holds those of the model.
_TOP_LEVEL_OPTIONS = (
    "keep_alive",
    "format",
    "think",
    "truncate",
    "shift",
    "logprobs",
    "top_logprobs",
    "tools",
    "dimensions",
)
_ALIASES = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    A prompt longer than the context is rejected: by default the server silently drops its start.
    """
    # Both fields: https://github.com/ollama/ollama/blob/main/api/types.go (older servers ignore them).
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request.messages),
        "stream": request.stream,
        "truncate": False,
        "shift": False,
    }
    if request.tools:
        body["tools"] = _encode_tools(request.tools)
    if request.schema is not None:
        body["format"] = request.schema
    if request.thinking is not None:
        level = to_effort_level(request.thinking)
        body["think"] = False if level == "none" else level
    body |= dict(endpoint.dialect.extra) | split_options(request.options)
    return build_post(endpoint, build_api_url(endpoint, "/chat"), body)


def split_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's options as body fields: those of the request at the top, the model's below ``options``."""
    chosen = {name: value for name, value in options.items() if name not in _RESERVED_OPTIONS}
    above = {name: chosen.pop(name) for name in _TOP_LEVEL_OPTIONS if name in chosen}
    given = chosen.pop("options", None)
    of_model = {_ALIASES.get(name, name): value for name, value in chosen.items()}
    if isinstance(stop := of_model.get("stop"), str):
        of_model["stop"] = [stop]
    of_model |= given if isinstance(given, dict) else {}
    return above | ({"options": of_model} if of_model else {})


def _encode_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


_KNOWN_PATHS = ("/v1", "/api")


def build_api_url(endpoint: Endpoint, path: str) -> str:
    """Return the URL of a path below ``/api``; base URLs may end with the host, ``/api`` or ``/v1``."""
    base, mark, query = endpoint.base_url.partition("?")
    base = base.rstrip("/")
    for path_suffix in _KNOWN_PATHS:
        base = base.removesuffix(path_suffix)
    return build_url(endpoint._replace(base_url=base + mark + query), f"/api{path}")
