"""From a :class:`ChatRequest` to the HTTP request that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.messages import Message
from llmctl.core.stored_json import dumps
from llmctl.wire.openai_chat.messages import encode_messages
from llmctl.wire.reasoning_effort import level_of, tokens_of, with_room
from llmctl.wire.schema_instruction import instructed
from llmctl.wire.strict_schema import is_strict
from llmctl.wire.urls import url_of


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. What the user chose by name (``options``) wins over what we would send by ourselves.

    Raises :class:`UsageError` where the dialect has no way to say what was asked for.
    """
    url = url_of(endpoint, endpoint.dialect.chat_path.replace("{model}", quote(request.model, safe="")))
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if request.stream else "application/json",
    } | dict(endpoint.headers)
    body = dumps(_body(request, endpoint.dialect)).encode("utf-8", "replace")
    return HttpRequest("POST", url, headers, body)


def _body(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(_messages(request, dialect), dialect),
        "stream": request.stream,
    }
    if request.stream and dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = _tools(request.tools)
    if request.schema is not None and dialect.schema_mode != "none":
        body["response_format"] = _response_format(request.schema, dialect)
    fixed = ("model", "messages", "stream")
    chosen = {name: value for name, value in request.options.items() if name not in fixed}
    if "max_tokens" in chosen:
        chosen[dialect.max_tokens_field] = chosen.pop("max_tokens")
    thinking = _thinking(request.thinking, dialect.thinking_field)
    return body | dict(dialect.extra) | thinking | _with_room(chosen, request.thinking, dialect)


def _with_room(chosen: dict[str, Any], wanted: str | int | None, dialect: Dialect) -> dict[str, Any]:
    """Raise the user's limit by the thinking that counts against it, where a host is known to count so.

    https://openrouter.ai/docs/use-cases/reasoning-tokens, https://platform.openai.com/docs/guides/reasoning
    """
    field = dialect.max_tokens_field
    counts = field == "max_completion_tokens" or (dialect.thinking_field == "reasoning" and isinstance(wanted, int))
    if wanted is None or field not in chosen or not counts:
        return chosen
    return chosen | {field: with_room(chosen[field], tokens_of(wanted))}


def _messages(request: ChatRequest, dialect: Dialect) -> tuple[Message, ...]:
    if request.schema is None or dialect.schema_mode == "json_schema":
        return request.messages
    return instructed(request.messages, request.schema)


def _tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name}
            | ({"description": tool.description} if tool.description else {})
            | {"parameters": tool.parameters},
        }
        for tool in tools
    ]


def _response_format(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect.schema_mode == "json_object":
        return {"type": "json_object"}
    named = {"name": "response", "schema": schema} | ({"strict": True} if is_strict(schema) else {})
    return {"type": "json_schema", "json_schema": named}


def _thinking(wanted: str | int | None, field: str | None) -> dict[str, Any]:
    if wanted is None or (field is None and wanted in ("none", 0)):
        return {}
    match field:
        case "reasoning_effort":
            return {field: level_of(wanted)}
        case "reasoning":
            return {
                field: {"max_tokens": wanted} if isinstance(wanted, int) and wanted else {"effort": level_of(wanted)}
            }
        case "thinking":
            return {field: {"type": "disabled" if level_of(wanted) == "none" else "enabled"}}
        case "enable_thinking":
            return {field: level_of(wanted) != "none"}
    raise UsageError(
        f'this connection has no setting for thinking "{wanted}"',
        hint="pass the host's own field with -o, or leave --thinking out",
        reason="thinking",
    )
