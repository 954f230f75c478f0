"""From a :class:`ChatRequest` to the HTTP request that asks it. Nothing is stored at the provider."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.wire.openai_responses.items import encode_items, instructions_of
from llmctl.wire.reasoning_effort import level_of, tokens_of, with_room
from llmctl.wire.strict_schema import is_strict
from llmctl.wire.urls import url_of

#: Names of the limit, as users know them from other wires.
_LIMIT = "max_output_tokens"
_LIMITS = ("max_tokens", "max_completion_tokens")
#: OpenAI's models that think unasked; the others refuse the field.
_THINKING = r"^(.*/)?(o\d|gpt-oss|gpt-([5-9]|\d\d)(?!.*-chat))"
#: What makes them put it into words.
_SHOWN = {"summary": "auto"}
_FIXED = ("model", "input", "messages", "stream")


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. What the user chose by name (``options``) wins over what we would send by ourselves."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if request.stream else "application/json",
    } | dict(endpoint.headers)
    body = dumps(_body(endpoint, request)).encode("utf-8", "replace")
    return HttpRequest("POST", url_of(endpoint, "/responses"), headers, body)


def _body(endpoint: Endpoint, request: ChatRequest) -> dict[str, Any]:
    instructions = instructions_of(request.messages)
    body: dict[str, Any] = {"model": request.model} | ({"instructions": instructions} if instructions else {})
    body |= {
        "input": encode_items(request.messages, endpoint.dialect),
        "stream": request.stream,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    if request.tools:
        body["tools"] = _tools(request.tools)
    if request.schema is not None:
        body["text"] = {"format": _format(request.schema)}
    if request.thinking is not None:
        body["reasoning"] = _reasoning(level_of(request.thinking))
    elif request.shows_thinking and re.search(_THINKING, request.model):
        body["reasoning"] = _SHOWN
    body = _with_options(body | dict(endpoint.dialect.extra), request.options)
    if request.thinking is not None and _LIMIT in body:
        body[_LIMIT] = with_room(body[_LIMIT], tokens_of(request.thinking))
    return body


def _tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    # Functions are strict here unless that is taken back, and few schemas are fit for it.
    return [
        {"type": "function", "name": tool.name}
        | ({"description": tool.description} if tool.description else {})
        | {"parameters": tool.parameters, "strict": False}
        for tool in tools
    ]


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "name": "response", "schema": schema, "strict": is_strict(schema)}


def _reasoning(effort: str) -> dict[str, Any]:
    return {"effort": effort} | ({} if effort == "none" else _SHOWN)


def _with_options(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Put the user's options in, those of Chat Completions where this wire has them.

    Tools and what is to be included come on top of ours; so do the fields of ``reasoning`` and ``text``.
    """
    for name, value in options.items():
        if name in _LIMITS:
            body.setdefault(_LIMIT, value)
        elif name == "reasoning_effort":
            body["reasoning"] = body.get("reasoning", {}) | {"effort": value}
        elif name == "verbosity":
            body["text"] = body.get("text", {}) | {"verbosity": value}
        elif name == "response_format":
            body["text"] = body.get("text", {}) | {"format": _flat(value, "json_schema")}
        elif name == "tool_choice":
            body[name] = _flat(value, "function")
        elif name not in _FIXED:
            body[name] = _joined(body.get(name), value)
    return body


def _flat(value: Any, kind: str) -> Any:
    """Turn ``{"type": kind, kind: {...}}`` of Chat Completions into one object."""
    inner = value.get(kind) if isinstance(value, Mapping) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _joined(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, list) and isinstance(theirs, list):
        return [*ours, *(item for item in theirs if item not in ours)]
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {**ours, **theirs}
    return theirs
