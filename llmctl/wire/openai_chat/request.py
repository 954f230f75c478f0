"""Build the HTTP request of a :class:`ChatRequest`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.messages import Message
from llmctl.wire.http_requests import EVENT_STREAM, JSON, build_post, build_url
from llmctl.wire.openai_chat.messages import encode_messages
from llmctl.wire.reasoning_effort import raise_output_limit, to_effort_level, to_token_budget
from llmctl.wire.schema import append_schema_instruction, is_strict


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    Raises :class:`UsageError` if the host has no field for the requested thinking.
    """
    url = build_url(endpoint, endpoint.dialect.chat_path.replace("{model}", quote(request.model, safe="")))
    accept = EVENT_STREAM if request.stream else JSON
    return build_post(endpoint, url, _build_body(request, endpoint.dialect), accept=accept)


def _build_body(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(_add_schema_instruction(request, dialect), dialect),
        "stream": request.stream,
    }
    if request.stream and dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = _encode_tools(request.tools)
    if request.schema is not None and dialect.schema_mode != "none":
        body["response_format"] = _build_response_format(request.schema, dialect)
    fixed = ("model", "messages", "stream")
    chosen = {name: value for name, value in request.options.items() if name not in fixed}
    if "max_tokens" in chosen:
        chosen[dialect.max_tokens_field] = chosen.pop("max_tokens")
    thinking = _build_thinking_field(request.thinking, dialect.thinking_field)
    return body | dict(dialect.extra) | thinking | _raise_limit(chosen, request.thinking, dialect)


def _raise_limit(chosen: dict[str, Any], effort: str | int | None, dialect: Dialect) -> dict[str, Any]:
    """Raise the user's limit by the thinking that counts against it, on hosts known to count it.

    https://openrouter.ai/docs/use-cases/reasoning-tokens, https://platform.openai.com/docs/guides/reasoning
    """
    field = dialect.max_tokens_field
    counts = field == "max_completion_tokens" or (dialect.thinking_field == "reasoning" and isinstance(effort, int))
    if effort is None or field not in chosen or not counts:
        return chosen
    return chosen | {field: raise_output_limit(chosen[field], to_token_budget(effort))}


def _add_schema_instruction(request: ChatRequest, dialect: Dialect) -> tuple[Message, ...]:
    if request.schema is None or dialect.schema_mode == "json_schema":
        return request.messages
    return append_schema_instruction(request.messages, request.schema)


def _encode_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name}
            | ({"description": tool.description} if tool.description else {})
            | {"parameters": tool.parameters},
        }
        for tool in tools
    ]


def _build_response_format(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect.schema_mode == "json_object":
        return {"type": "json_object"}
    named = {"name": "response", "schema": schema} | ({"strict": True} if is_strict(schema) else {})
    return {"type": "json_schema", "json_schema": named}


def _build_thinking_field(effort: str | int | None, field: str | None) -> dict[str, Any]:
    if effort is None or (field is None and effort in ("none", 0)):
        return {}
    match field:
        case "reasoning_effort":
            return {field: to_effort_level(effort)}
        case "reasoning":
            return {
                field: {"max_tokens": effort}
                if isinstance(effort, int) and effort
                else {"effort": to_effort_level(effort)}
            }
        case "thinking":
            return {field: {"type": "disabled" if to_effort_level(effort) == "none" else "enabled"}}
        case "enable_thinking":
            return {field: to_effort_level(effort) != "none"}
    raise UsageError(
        f'this connection does not support thinking "{effort}"',
        hint="pass the host's own field with -o, or omit --thinking",
        reason="thinking",
    )
