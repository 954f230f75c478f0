"""Build the HTTP request of a :class:`ChatRequest`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.wire.gemini.messages import encode_contents, encode_system
from llmctl.wire.gemini.thinking import build_thinking_config, extra_output_tokens, parse_version
from llmctl.wire.http_requests import EVENT_STREAM, build_post, build_url
from llmctl.wire.schema import append_schema_instruction

#: Maximum output tokens of any model.
_MAX_OUTPUT_TOKENS = 65_536


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    Raises :class:`UsageError` if the model does not support the requested thinking.
    """
    body = _build_body(request) | dict(endpoint.dialect.extra)
    if request.stream:
        url = build_model_url(endpoint, request.model, "streamGenerateContent", alt="sse")
        return build_post(endpoint, url, body, accept=EVENT_STREAM)
    return build_post(endpoint, build_model_url(endpoint, request.model, "generateContent"), body)


def build_model_url(endpoint: Endpoint, model: str, operation: str, **query: str) -> str:
    """Return the URL of an operation; a name with its own path (``tunedModels/x``) is used as is."""
    name = model.strip().strip("/").removeprefix("models/")
    template = "/{model}" if "/" in name else endpoint.dialect.model_path
    path = template.replace("{model}", quote(name, safe="/"))
    return build_url(endpoint._replace(query={**query, **endpoint.query}), f"{path}:{operation}")


def _build_body(request: ChatRequest) -> dict[str, Any]:
    chosen, beside = split_options(request.options)
    messages = request.messages
    if request.schema is not None and not _supports_schema(request):
        messages = append_schema_instruction(messages, request.schema)
    config = _build_generation_config(request, chosen)
    system = encode_system(messages)
    tools = _encode_tools(request.tools, beside.pop("tools", None))
    return (
        {"contents": encode_contents(messages, request.model)}
        | ({"systemInstruction": system} if system else {})
        | ({"tools": tools} if tools else {})
        | ({"generationConfig": config} if config else {})
        | beside
    )


def _build_generation_config(request: ChatRequest, chosen: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    thinking = build_thinking_config(request.thinking, request.model, shown=request.shows_thinking)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if request.schema is not None and _supports_schema(request):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": _drop_schema_uri(request.schema)}
    limit = chosen.get("maxOutputTokens")
    if thinking is not None and isinstance(limit, int) and limit < _MAX_OUTPUT_TOKENS:
        chosen = chosen | {"maxOutputTokens": min(limit + extra_output_tokens(request.thinking), _MAX_OUTPUT_TOKENS)}
    return config | chosen


def _supports_schema(request: ChatRequest) -> bool:
    """Return whether the model can enforce the schema: before Gemini 3 not together with tools."""
    return not request.tools or parse_version(request.model) >= (3, 0)


def _encode_tools(declared: Iterable[ToolSpec], chosen: Any) -> list[Any]:
    """Return our tools and Google's own tools that the user chose (``-o 'tools=[{"googleSearch": {}}]'``)."""
    functions = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": _drop_schema_uri(tool.parameters)}
        for tool in declared
    ]
    others = chosen if isinstance(chosen, list) else [chosen] if chosen else []
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def _drop_schema_uri(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without ``$schema``, which the API rejects."""
    return {name: value for name, value in schema.items() if name != "$schema"}


#: https://ai.google.dev/api/generate-content#generationconfig
_GENERATION = {
    "audioTimestamp", "candidateCount", "enableAffectiveDialog", "enableEnhancedCivicAnswers", "frequencyPenalty",
    "imageConfig", "logprobs", "maxOutputTokens", "mediaResolution", "presencePenalty", "responseFormat",
    "responseJsonSchema", "responseLogprobs", "responseMimeType", "responseModalities", "responseSchema",
    "routingConfig", "seed", "speechConfig", "stopSequences", "temperature", "thinkingConfig", "topK", "topP",
}  # fmt: skip
#: Names that users know from other providers.
_ALIASES = {"max_tokens": "maxOutputTokens", "max_completion_tokens": "maxOutputTokens", "stop": "stopSequences"}
#: Fields that the request itself sets.
_RESERVED_OPTIONS = {"contents", "model", "stream"}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of ``generationConfig`` and the top-level fields; unknown names are passed through."""
    inside: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for name, value in options.items():
        theirs = _ALIASES.get(name) or _to_camel_case(name)
        if theirs == "generationConfig" and isinstance(value, Mapping):
            inside |= value
        elif theirs in _GENERATION:
            inside[theirs] = [value] if theirs == "stopSequences" and isinstance(value, str) else value
        elif name not in _RESERVED_OPTIONS:
            beside[name] = value
    return inside, beside


def _to_camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
