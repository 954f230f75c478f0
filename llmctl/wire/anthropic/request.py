"""From a :class:`ChatRequest` to the HTTP request that asks it.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.messages import Message
from llmctl.core.stored_json import dumps
from llmctl.wire.anthropic.messages import calls_in, encode_messages
from llmctl.wire.anthropic.model_features import Claude, claude
from llmctl.wire.anthropic.schema import reduced
from llmctl.wire.anthropic.thinking import BINDING_BETA, thinking_fields
from llmctl.wire.reasoning_effort import tokens_of, with_room
from llmctl.wire.schema_instruction import instructed
from llmctl.wire.urls import url_of

VERSION = "2023-06-01"
#: The tool through which models without structured output give it; its arguments are the answer.
SCHEMA_TOOL = "llmctl_structured_answer"

_FIXED = ("model", "messages", "system", "stream")


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. What the user chose by name (``options``) wins over what we would send by ourselves.

    ``max_tokens`` is demanded by the API: a default where none is chosen, raised above a budget for thinking.
    ``stop`` may be said as with other providers; ``cache`` (true, ``5m`` or ``1h``) keeps the prompt in the
    provider's cache, ``effort`` is the model's own setting of that name.
    """
    body = _body(request, endpoint.dialect.extra)
    betas = [BINDING_BETA] if "block_binding" in body.get("thinking", ()) else []
    accept = "text/event-stream" if request.stream else "application/json"
    sent = {"content-type": "application/json"} | headers_of(endpoint, accept, betas)
    return HttpRequest("POST", address(endpoint, "/messages"), sent, dumps(body).encode("utf-8", "replace"))


def headers_of(endpoint: Endpoint, accept: str, betas: list[str] | None = None) -> dict[str, str]:
    """Return the headers of any request; names in lower case, so that the endpoint's own replace ours."""
    own = {name.lower(): value for name, value in endpoint.headers.items()}
    known = {beta.strip() for beta in own.get("anthropic-beta", "").split(",")}
    named = [own["anthropic-beta"]] if own.get("anthropic-beta") else []
    named += [beta for beta in betas or () if beta not in known]
    sent = {"accept": accept, "anthropic-version": VERSION} | own
    return sent | ({"anthropic-beta": ",".join(named)} if named else {})


def address(endpoint: Endpoint, path: str) -> str:
    """Return the address of a path; base URLs are written with and without the ``/v1`` below which all paths are."""
    base = endpoint.base_url.partition("?")[0].rstrip("/")
    return url_of(endpoint, path if base.endswith("/v1") else "/v1" + path)


def _body(request: ChatRequest, extra: Mapping[str, Any]) -> dict[str, Any]:
    model = claude(request.model)
    system, turns = encode_messages(_messages(request, model))
    chosen = {name: value for name, value in request.options.items() if name not in _FIXED}
    body: dict[str, Any] = {"model": request.model, "messages": turns, "stream": request.stream}
    if system:
        body["system"] = system
    body |= _cache(chosen.pop("cache", None))
    if "stop" in chosen:
        stop = chosen.pop("stop")
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    thinking = thinking_fields(request.thinking, model, turns, shown=request.shows_thinking)
    body |= _tools(request, model, turns, thinks="thinking" in thinking) | dict(extra)
    body |= {"max_tokens": model.default_tokens} | thinking | _output_config(request, model, thinking, chosen) | chosen
    return _with_room(body, request, model)


def _messages(request: ChatRequest, model: Claude) -> tuple[Message, ...]:
    """Say a schema in words where neither a field nor the arguments of a tool can hold the answer to it."""
    if request.schema is None or model.takes_schema or _is_object(request.schema):
        return request.messages
    return instructed(request.messages, request.schema)


def _is_object(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("type", "object") == "object")


def _with_room(body: dict[str, Any], request: ChatRequest, model: Claude) -> dict[str, Any]:
    """Raise the limit so that an answer has room beside its thinking; a budget has to be below it."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if budget is None and request.thinking is not None:
        budget = tokens_of(request.thinking)
    limit = body["max_tokens"]
    if isinstance(budget, int) and isinstance(raised := with_room(limit, budget), int) and raised != limit:
        body["max_tokens"] = max(min(raised, model.most_tokens or raised), budget + 1)
    return body


def _output_config(
    request: ChatRequest, model: Claude, thinking: dict[str, Any], chosen: dict[str, Any]
) -> dict[str, Any]:
    config: dict[str, Any] = dict(thinking.get("output_config", {}))
    if request.schema is not None and model.takes_schema:
        config["format"] = {"type": "json_schema", "schema": reduced(request.schema)}
    if "effort" in chosen:
        config["effort"] = chosen.pop("effort")
    if isinstance(own := chosen.get("output_config"), dict):
        config |= own
        del chosen["output_config"]
    return {"output_config": config} if config else {}


def _tools(request: ChatRequest, model: Claude, turns: list[dict[str, Any]], *, thinks: bool) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice``. Earlier calls want their tools named, even where none is offered now."""
    offered = [_tool(tool) for tool in request.tools]
    if request.schema is not None and not model.takes_schema and _is_object(request.schema):
        described = "Give the final answer by calling this tool, once."
        tool = {"name": SCHEMA_TOOL, "description": described, "input_schema": _object(request.schema)}
        forced = {"type": "any"} if offered else {"type": "tool", "name": SCHEMA_TOOL}
        # A forced choice and thinking exclude each other.
        return {"tools": [*offered, tool], "tool_choice": {"type": "auto"} if thinks else forced}
    if offered:
        return {"tools": offered}
    called = [{"name": name, "input_schema": {"type": "object"}} for name in calls_in(turns)]
    return {"tools": called, "tool_choice": {"type": "none"}} if called else {}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name} | described | {"input_schema": _object(tool.parameters)}


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the ``type`` that is demanded of it."""
    return {"type": "object"} | dict(schema)


def _cache(wanted: Any) -> dict[str, Any]:
    """Return the mark that lets the whole prompt be cached.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    if not wanted or wanted == "false":
        return {}
    ttl = {"ttl": wanted} if wanted in ("5m", "1h") else {}
    return {"cache_control": {"type": "ephemeral"} | ttl}
