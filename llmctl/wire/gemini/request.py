"""From a :class:`ChatRequest` to the HTTP request that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.gemini.config import split_options
from llmctl.wire.gemini.contents import encode_contents, encode_system
from llmctl.wire.gemini.thinking import room_for, thinking_config
from llmctl.wire.gemini.urls import address_of, post, version_of
from llmctl.wire.schema_instruction import instructed

#: Most tokens of any model's answer.
_MOST_OUTPUT = 65_536


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. What the user chose by name (``options``) wins over what we would send by ourselves.

    Raises :class:`UsageError` for thinking that the model does not have.
    """
    body = _body(request) | dict(endpoint.dialect.extra)
    if request.stream:
        url = address_of(endpoint, request.model, "streamGenerateContent", alt="sse")
        return post(endpoint, url, body, accept="text/event-stream")
    return post(endpoint, address_of(endpoint, request.model, "generateContent"), body)


def _body(request: ChatRequest) -> dict[str, Any]:
    chosen, beside = split_options(request.options)
    messages = request.messages
    if request.schema is not None and not _takes_schema(request):
        messages = instructed(messages, request.schema)
    config = _generation_config(request, chosen)
    system = encode_system(messages)
    tools = _tools(request.tools, beside.pop("tools", None))
    return (
        {"contents": encode_contents(messages, request.model)}
        | ({"systemInstruction": system} if system else {})
        | ({"tools": tools} if tools else {})
        | ({"generationConfig": config} if config else {})
        | beside
    )


def _generation_config(request: ChatRequest, chosen: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    thinking = thinking_config(request.thinking, request.model, shown=request.shows_thinking)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if request.schema is not None and _takes_schema(request):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": _plain(request.schema)}
    limit = chosen.get("maxOutputTokens")
    if thinking is not None and isinstance(limit, int) and limit < _MOST_OUTPUT:
        chosen = chosen | {"maxOutputTokens": min(limit + room_for(request.thinking), _MOST_OUTPUT)}
    return config | chosen


def _takes_schema(request: ChatRequest) -> bool:
    """Say whether the answer can be held to a schema: before the third generation not where tools may be called."""
    return not request.tools or version_of(request.model) >= (3, 0)


def _tools(declared: Iterable[ToolSpec], chosen: Any) -> list[Any]:
    """Return the tools: ours, and those of Google that the user chose (``-o 'tools=[{"googleSearch": {}}]'``)."""
    functions = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": _plain(tool.parameters)}
        for tool in declared
    ]
    others = chosen if isinstance(chosen, list) else [chosen] if chosen else []
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without the name of its language, which is refused."""
    return {name: value for name, value in schema.items() if name != "$schema"}
