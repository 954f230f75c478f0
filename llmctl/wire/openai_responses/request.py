"""Build the HTTP request of a :class:`ChatRequest`. Nothing is stored at the provider."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.http_requests import EVENT_STREAM, JSON, build_post, build_url
from llmctl.wire.openai_responses.messages import encode_items, find_instructions
from llmctl.wire.reasoning_effort import raise_output_limit, to_effort_level, to_token_budget
from llmctl.wire.schema import is_strict

#: Names of the output limit in other wires.
_LIMIT = "max_output_tokens"
_LIMITS = ("max_tokens", "max_completion_tokens")
#: OpenAI's models that think by default; the others reject the field.
_THINKING_MODELS = r"^(.*/)?(o\d|gpt-oss|gpt-([5-9]|\d\d)(?!.*-chat))"
#: Requests a summary of the thinking.
_SUMMARY_FIELD = {"summary": "auto"}
_RESERVED_OPTIONS = ("model", "input", "messages", "stream")


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults."""
    accept = EVENT_STREAM if request.stream else JSON
    return build_post(endpoint, build_url(endpoint, "/responses"), _build_body(endpoint, request), accept=accept)


def _build_body(endpoint: Endpoint, request: ChatRequest) -> dict[str, Any]:
    instructions = find_instructions(request.messages)
    body: dict[str, Any] = {"model": request.model} | ({"instructions": instructions} if instructions else {})
    body |= {
        "input": encode_items(request.messages, endpoint.dialect),
        "stream": request.stream,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    if request.tools:
        body["tools"] = _encode_tools(request.tools)
    if request.schema is not None:
        body["text"] = {"format": _build_text_format(request.schema)}
    if request.thinking is not None:
        body["reasoning"] = _build_reasoning_field(to_effort_level(request.thinking))
    elif request.shows_thinking and re.search(_THINKING_MODELS, request.model):
        body["reasoning"] = _SUMMARY_FIELD
    body = _apply_options(body | dict(endpoint.dialect.extra), request.options)
    if request.thinking is not None and _LIMIT in body:
        body[_LIMIT] = raise_output_limit(body[_LIMIT], to_token_budget(request.thinking))
    return body


def _encode_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    # Functions are strict by default here, and few schemas qualify.
    return [
        {"type": "function", "name": tool.name}
        | ({"description": tool.description} if tool.description else {})
        | {"parameters": tool.parameters, "strict": False}
        for tool in tools
    ]


def _build_text_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "name": "response", "schema": schema, "strict": is_strict(schema)}


def _build_reasoning_field(effort: str) -> dict[str, Any]:
    return {"effort": effort} | ({} if effort == "none" else _SUMMARY_FIELD)


def _apply_options(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Apply the user's options, translating those of Chat Completions.

    Lists (``tools``, ``include``) and objects (``reasoning``, ``text``) are merged with ours.
    """
    for name, value in options.items():
        if name in _LIMITS:
            body.setdefault(_LIMIT, value)
        elif name == "reasoning_effort":
            body["reasoning"] = body.get("reasoning", {}) | {"effort": value}
        elif name == "verbosity":
            body["text"] = body.get("text", {}) | {"verbosity": value}
        elif name == "response_format":
            body["text"] = body.get("text", {}) | {"format": _flatten(value, "json_schema")}
        elif name == "tool_choice":
            body[name] = _flatten(value, "function")
        elif name not in _RESERVED_OPTIONS:
            body[name] = _merge_values(body.get(name), value)
    return body


def _flatten(value: Any, kind: str) -> Any:
    """Flatten ``{"type": kind, kind: {...}}`` of Chat Completions."""
    inner = value.get(kind) if isinstance(value, Mapping) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _merge_values(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, list) and isinstance(theirs, list):
        return [*ours, *(item for item in theirs if item not in ours)]
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {**ours, **theirs}
    return theirs
