"""Build the HTTP request of a :class:`ChatRequest`.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.messages import Message
from llmctl.core.stored_json import dumps
from llmctl.wire.anthropic.messages import encode_messages, list_called_tools
from llmctl.wire.anthropic.thinking import BINDING_BETA, ClaudeModel, build_thinking_fields, parse_model_name
from llmctl.wire.http_requests import EVENT_STREAM, JSON, build_url, encode_body
from llmctl.wire.reasoning_effort import raise_output_limit, to_token_budget
from llmctl.wire.schema import append_schema_instruction

VERSION = "2023-06-01"
#: Tool that emulates structured output on models without it; its arguments are the answer.
SCHEMA_TOOL = "llmctl_structured_answer"

_RESERVED_OPTIONS = ("model", "messages", "system", "stream")


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    The API requires ``max_tokens``: a default is sent if none is set, and it is raised above a thinking budget.
    ``stop`` is accepted as with other providers; ``cache`` (true, ``5m`` or ``1h``) keeps the prompt in the
    provider's cache; ``effort`` is the model's own setting of that name.
    """
    body = _build_body(request, endpoint.dialect.extra)
    betas = [BINDING_BETA] if "block_binding" in body.get("thinking", ()) else []
    accept = EVENT_STREAM if request.stream else JSON
    headers = {"content-type": JSON} | build_headers(endpoint, accept, betas)
    return HttpRequest("POST", build_api_url(endpoint, "/messages"), headers, encode_body(body))


def build_headers(endpoint: Endpoint, accept: str, betas: list[str] | None = None) -> dict[str, str]:
    """Return the headers of any request; names in lower case, so that the endpoint's headers replace ours."""
    own = {name.lower(): value for name, value in endpoint.headers.items()}
    known = {beta.strip() for beta in own.get("anthropic-beta", "").split(",")}
    named = [own["anthropic-beta"]] if own.get("anthropic-beta") else []
    named += [beta for beta in betas or () if beta not in known]
    sent = {"accept": accept, "anthropic-version": VERSION} | own
    return sent | ({"anthropic-beta": ",".join(named)} if named else {})


def build_api_url(endpoint: Endpoint, path: str) -> str:
    """Return the URL of a path below ``/v1``, which base URLs may or may not include."""
    base = endpoint.base_url.partition("?")[0].rstrip("/")
    return build_url(endpoint, path if base.endswith("/v1") else "/v1" + path)


def _build_body(request: ChatRequest, extra: Mapping[str, Any]) -> dict[str, Any]:
    model = parse_model_name(request.model)
    system, turns = encode_messages(_add_schema_instruction(request, model))
    chosen = {name: value for name, value in request.options.items() if name not in _RESERVED_OPTIONS}
    body: dict[str, Any] = {"model": request.model, "messages": turns, "stream": request.stream}
    if system:
        body["system"] = system
    body |= _cache_field(chosen.pop("cache", None))
    if "stop" in chosen:
        stop = chosen.pop("stop")
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    thinking = build_thinking_fields(request.thinking, model, turns, shown=request.shows_thinking)
    body |= _encode_tools(request, model, turns, thinks="thinking" in thinking) | dict(extra)
    body |= (
        {"max_tokens": model.default_max_tokens}
        | thinking
        | _build_output_config(request, model, thinking, chosen)
        | chosen
    )
    return _raise_limit(body, request, model)


def _add_schema_instruction(request: ChatRequest, model: ClaudeModel) -> tuple[Message, ...]:
    """Add the schema to the prompt if neither a field nor a tool can enforce it."""
    if request.schema is None or model.supports_schema or _is_object_schema(request.schema):
        return request.messages
    return append_schema_instruction(request.messages, request.schema)


def _is_object_schema(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("type", "object") == "object")


def _raise_limit(body: dict[str, Any], request: ChatRequest, model: ClaudeModel) -> dict[str, Any]:
    """Raise the limit so that the answer fits beside the thinking; a budget must be below the limit."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if budget is None and request.thinking is not None:
        budget = to_token_budget(request.thinking)
    limit = body["max_tokens"]
    if isinstance(budget, int) and isinstance(raised := raise_output_limit(limit, budget), int) and raised != limit:
        body["max_tokens"] = max(min(raised, model.max_output_tokens or raised), budget + 1)
    return body


def _build_output_config(
    request: ChatRequest, model: ClaudeModel, thinking: dict[str, Any], chosen: dict[str, Any]
) -> dict[str, Any]:
    config: dict[str, Any] = dict(thinking.get("output_config", {}))
    if request.schema is not None and model.supports_schema:
        config["format"] = {"type": "json_schema", "schema": reduce_schema(request.schema)}
    if "effort" in chosen:
        config["effort"] = chosen.pop("effort")
    if isinstance(own := chosen.get("output_config"), dict):
        config |= own
        del chosen["output_config"]
    return {"output_config": config} if config else {}


def _encode_tools(
    request: ChatRequest, model: ClaudeModel, turns: list[dict[str, Any]], *, thinks: bool
) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice``. Earlier calls need their tools declared even if none is offered."""
    offered = [_encode_tool(tool) for tool in request.tools]
    if request.schema is not None and not model.supports_schema and _is_object_schema(request.schema):
        described = "Give the final answer by calling this tool, once."
        tool = {"name": SCHEMA_TOOL, "description": described, "input_schema": _object_schema(request.schema)}
        forced = {"type": "any"} if offered else {"type": "tool", "name": SCHEMA_TOOL}
        # A forced tool choice and thinking are mutually exclusive.
        return {"tools": [*offered, tool], "tool_choice": {"type": "auto"} if thinks else forced}
    if offered:
        return {"tools": offered}
    called = [{"name": name, "input_schema": {"type": "object"}} for name in list_called_tools(turns)]
    return {"tools": called, "tool_choice": {"type": "none"}} if called else {}


def _encode_tool(tool: ToolSpec) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name} | described | {"input_schema": _object_schema(tool.parameters)}


def _object_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the required ``type``."""
    return {"type": "object"} | dict(schema)


def _cache_field(wanted: Any) -> dict[str, Any]:
    """Return the field that caches the whole prompt.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    if not wanted or wanted == "false":
        return {}
    ttl = {"ttl": wanted} if wanted in ("5m", "1h") else {}
    return {"cache_control": {"type": "ephemeral"} | ttl}


_SUPPORTED = {
    "type", "enum", "const", "title", "description", "default", "$ref", "$defs", "definitions",
    "anyOf", "allOf", "properties", "required", "items", "format", "minItems", "additionalProperties",
}  # fmt: skip
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf")


def reduce_schema(schema: Any) -> Any:
    """Return the schema with closed objects and only the keywords that ``output_config.format`` accepts.

    https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
    Other keywords move to the description for the model; answers are validated against the whole schema anyway.
    """
    if not isinstance(schema, Mapping):
        return schema
    source = dict(schema)
    source.pop("$schema", None)
    if "oneOf" in source and "anyOf" not in source:
        source["anyOf"] = source.pop("oneOf")
    reduced = {name: _reduce_value(name, value) for name, value in source.items() if _is_supported(name, value)}
    unsupported = {name: value for name, value in source.items() if name not in reduced}
    if reduced.get("type") == "object" or "properties" in reduced:
        unsupported.pop("additionalProperties", None)
        reduced["additionalProperties"] = False
    if unsupported:
        description = [str(reduced["description"])] if reduced.get("description") else []
        reduced["description"] = "\n\n".join([*description, dumps(unsupported)])
    return reduced


def _is_supported(name: str, value: Any) -> bool:
    if name == "format":
        return value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    return name in _SUPPORTED and (name != "additionalProperties" or value is False)


def _reduce_value(name: str, value: Any) -> Any:
    if name in _MAPS and isinstance(value, Mapping):
        return {key: reduce_schema(inner) for key, inner in value.items()}
    if name in _LISTS and isinstance(value, list | tuple):
        return [reduce_schema(inner) for inner in value]
    return reduce_schema(value) if name == "items" else value
