"""From a :class:`ChatRequest` to the HTTP request that asks it. https://docs.ollama.com/api/chat"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.ollama.messages import encode_messages
from llmctl.wire.ollama.urls import post
from llmctl.wire.reasoning_effort import level_of

_FIXED = ("model", "messages", "stream")
#: What stands beside the model's own options.
_ABOVE = ("keep_alive", "format", "think", "truncate", "shift", "logprobs", "top_logprobs", "tools", "dimensions")
_OTHER_NAMES = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. Options go where they belong: ``keep_alive`` beside them, ``num_ctx`` among the model's.

    A prompt longer than the context is refused: left to itself the server drops its beginning and says nothing.
    """
    # Both fields: https://github.com/ollama/ollama/blob/main/api/types.go (older servers pass them over).
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request.messages),
        "stream": request.stream,
        "truncate": False,
        "shift": False,
    }
    if request.tools:
        body["tools"] = _tools(request.tools)
    if request.schema is not None:
        body["format"] = request.schema
    if request.thinking is not None:
        level = level_of(request.thinking)
        body["think"] = False if level == "none" else level
    return post(endpoint, "/chat", body | dict(endpoint.dialect.extra) | split_options(request.options))


def split_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's options as fields of a body: those of the request, and the model's below ``options``."""
    chosen = {name: value for name, value in options.items() if name not in _FIXED}
    above = {name: chosen.pop(name) for name in _ABOVE if name in chosen}
    given = chosen.pop("options", None)
    of_model = {_OTHER_NAMES.get(name, name): value for name, value in chosen.items()}
    if isinstance(stop := of_model.get("stop"), str):
        of_model["stop"] = [stop]
    of_model |= given if isinstance(given, dict) else {}
    return above | ({"options": of_model} if of_model else {})


def _tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]
