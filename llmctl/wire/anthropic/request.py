"""Build the request of a chat: blocks and files, tools, the schema, and what each model generation knows of thinking.

System text is separate, user and assistant alternate, and the results of tools come first in their turn.
https://platform.claude.com/docs/en/api/messages/create,
https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmctl.core.chat import ChatRequest, File, Message, Part, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.wire.requests import (
    EVENT_STREAM,
    JSON,
    NameRule,
    ToolIdMap,
    append_schema_instruction,
    build_url,
    decode_text,
    encode_base64,
    encode_body,
    has_tools,
    inline_text,
    is_text,
    list_tools,
    parse_arguments,
    raise_output_limit,
    split_media_type,
    to_effort_level,
    to_token_budget,
)

VERSION = "2023-06-01"
#: Tool that emulates structured output on models without it; its arguments are the answer.
SCHEMA_TOOL = "llmctl_structured_answer"

#: https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
TOOL_NAMES = NameRule(max_chars=128)

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
    if has_tools(request):
        from llmctl.wire.tools import prepare_tools  # most chats have none

        request = prepare_tools(request, TOOL_NAMES)
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
    hosted = list_tools(chosen.pop("tools", None))
    body |= _encode_tools(request, model, turns, hosted, thinks="thinking" in thinking) | dict(extra)
    if "tool_choice" in chosen or "parallel_tool_calls" in chosen:
        chosen |= _encode_tool_choice(chosen, body)
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
    """Raise the limit so that the answer fits in addition to the thinking; a budget must be below the limit."""
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
    request: ChatRequest, model: ClaudeModel, turns: list[dict[str, Any]], hosted: list[Any], *, thinks: bool
) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice``; ``hosted`` are the provider's own tools that the user chose.

    Earlier calls need their tools declared even if none is offered.
    """
    offered = [_encode_tool(tool) for tool in request.tools]
    offered += [tool for tool in hosted if tool not in offered]
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


def _encode_tool_choice(chosen: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Take the choice out of the user's options; return it as the field. Other shapes are the provider's own."""
    from llmctl.wire.tools import ToolChoice

    choice = chosen.pop("tool_choice", None)
    is_single = chosen.pop("parallel_tool_calls", None) is False
    if choice is None:
        if not is_single or not body.get("tools"):
            return {}
        return {"tool_choice": body.get("tool_choice", {"type": "auto"}) | {"disable_parallel_tool_use": True}}
    if not isinstance(choice, ToolChoice):
        return {"tool_choice": choice}
    if choice.mode == "none":
        return {"tool_choice": {"type": "none"}} if body.get("tools") else {}
    field: dict[str, Any] = {"type": "any" if choice.mode == "required" else "auto"}
    if choice.mode == "required" and len(choice.names) == 1:
        field = {"type": "tool", "name": choice.names[0]}
    return {"tool_choice": field | ({"disable_parallel_tool_use": True} if choice.is_single or is_single else {})}


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


#: Metadata key of an answer's blocks that parts cannot represent, such as runs of the provider's own tools.
CONTENT_KEY = "anthropic_content"
#: A conversation must start with the user; this replaces a start that was cut off.
_TRUNCATED_NOTE = "(earlier messages left out)"

Block = dict[str, Any]


def encode_messages(messages: Iterable[Message]) -> tuple[str, list[dict[str, Any]]]:
    """Return the system text and the turns. Consecutive messages of one side form one turn.

    Blank text and empty messages are omitted. Ids of tool calls are made acceptable.
    """
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    ids = ToolIdMap(_ID)
    for message in messages:
        if message.role == "system":
            system += [message.text] if message.text.strip() else []
        elif blocks := _encode_assistant(message, ids) if message.role == "assistant" else _encode_user(message, ids):
            _append_blocks(turns, "assistant" if message.role == "assistant" else "user", blocks)
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [_text_block(_TRUNCATED_NOTE)]})
    return "\n\n".join(system), turns


def list_called_tools(turns: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the tools that earlier turns called, without duplicates."""
    blocks = (block for turn in turns for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _append_blocks(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not turns or turns[-1]["role"] != role:
        turns.append({"role": role, "content": blocks})
        return
    content = turns[-1]["content"] + blocks
    # Nothing may come between calls and their results.
    turns[-1]["content"] = sorted(content, key=lambda block: bool(block["type"] != "tool_result"))


def _encode_user(message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the blocks of a user or tool message; files next to a result become part of the last result."""
    results = [_encode_result(part, ids) for part in message.parts if isinstance(part, ToolResult)]
    others = [block for part in message.parts if (block := _encode_user_part(part))]
    if not results:
        return others
    if others:
        text = results[-1].get("content")
        results[-1]["content"] = ([_text_block(text)] if text else []) + others
    return results


def _encode_user_part(part: Part) -> Block | None:
    if isinstance(part, File):
        return encode_file(part)
    return _text_block(part.text) if isinstance(part, Text) and part.text.strip() else None


def _encode_result(part: ToolResult, ids: ToolIdMap) -> Block:
    content = part.content if part.content.strip() else "failed" if part.is_error else ""
    return (
        {"type": "tool_result", "tool_use_id": ids.for_result(part.call_id)}
        | ({"content": content} if content else {})
        | ({"is_error": True} if part.is_error else {})
    )


def _encode_assistant(message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the blocks of an answer; none if it has only thinking."""
    ids.forget_answered()
    stored = message.metadata.get(CONTENT_KEY)
    blocks = _restore_content(stored, message, ids) if isinstance(stored, list) else _encode_parts(message, ids)
    return blocks if any(not block["type"].endswith("thinking") for block in blocks) else []


def _encode_parts(message: Message, ids: ToolIdMap) -> list[Block]:
    blocks: list[Block] = []
    for part in message.parts:
        if isinstance(part, Thinking) and (block := encode_thinking(part)):
            blocks.append(block)
        elif isinstance(part, Text) and part.text.strip():
            blocks.append(_text_block(part.text))
        elif isinstance(part, ToolCall):
            blocks.append(_encode_call(part, ids))
    return blocks


def _restore_content(stored: list[Any], message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the original blocks of an answer, with only those calls that the message still has."""
    calls = {call.id: call for call in message.tool_calls}
    blocks: list[Block] = []
    for block in stored:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str) or (kind == "text" and not str(block.get("text")).strip()):
            continue
        if kind != "tool_use":
            blocks.append(block)
        elif call := calls.get(str(block.get("id"))):
            blocks.append(block | _encode_call(call, ids))
    return blocks


def _encode_call(call: ToolCall, ids: ToolIdMap) -> Block:
    return {
        "type": "tool_use",
        "id": ids.for_call(call.id),
        "name": call.name,
        "input": parse_arguments(call.arguments),
    }


def _text_block(text: str) -> Block:
    return {"type": "text", "text": text}


_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text, PDF and four image types; PDF and images also by URL."""
    kind = _normalize_media_type(media_type)
    return kind in _IMAGES or kind == _PDF or (is_text(media_type) and not by_url)


def encode_file(file: File) -> dict[str, Any]:
    """Return the block of a file. Raises UsageError for types that the API does not accept."""
    kind = _normalize_media_type(file.media_type)
    if kind in _IMAGES:
        return {"type": "image", "source": _encode_source(file, kind)}
    if kind == _PDF:
        return {"type": "document", "source": _encode_source(file, kind)} | _title_field(file)
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection does not accept {file.media_type}: {file.name or 'attachment'}",
            hint="it accepts images (jpeg, png, gif, webp), PDF and text",
            reason="attachment",
        )
    if not (text := decode_text(file)).strip():
        return {"type": "text", "text": inline_text(file)}  # Empty documents are rejected.
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} | _title_field(
        file
    )


def _encode_source(file: File, kind: str) -> dict[str, Any]:
    if file.data is None and file.url:
        return {"type": "url", "url": file.url}
    return {"type": "base64", "media_type": kind, "data": encode_base64(file)}


def _title_field(file: File) -> dict[str, Any]:
    return {"title": file.name[:500]} if file.name else {}


def _normalize_media_type(media_type: str) -> str:
    return "/".join(split_media_type(media_type)).replace("image/jpg", "image/jpeg")


_ID = r"[a-zA-Z0-9_-]{1,64}"


#: Marks parts that this wire produced: a signature is only valid at the provider that made it.
ORIGIN = "anthropic"
BINDING_BETA = "thinking-binding-controls-2026-08-01"

_MIN_BUDGET = 1024


def to_thinking_budget(effort: str | int) -> int:
    """Return the token budget of an effort; the API requires at least 1,024."""
    return max(to_token_budget(effort), _MIN_BUDGET)


#: Since 4.7 the text is omitted unless requested.
_SHOWN = {"display": "summarized"}


def build_thinking_fields(
    effort: str | int | None, model: ClaudeModel, turns: Sequence[dict[str, Any]], *, shown: bool = False
) -> dict[str, Any]:
    """Return the ``thinking`` and ``output_config`` fields of a request with these turns.

    ``shown``: request the text even from a model that thinks by default.
    """
    if effort is None:
        return _default_fields(model, turns, shown=shown)
    if effort in ("none", 0):
        return {"thinking": {"type": model.off_switch}} if model.thinks_by_default else {}
    if model.supports_budget and (isinstance(effort, int) or not model.supports_adaptive):
        fixed = {"type": "enabled", "budget_tokens": to_thinking_budget(effort)}
        return {} if _started_without_thinking(turns) else {"thinking": fixed}
    display = {} if model.supports_budget else _SHOWN
    return {
        "thinking": {"type": "adaptive", **display, **_binding_fields(model, turns)},
        "output_config": {"effort": to_effort_level(effort)},
    }


def encode_thinking(part: Thinking) -> dict[str, Any] | None:
    """Return earlier thinking as its original block; None if another provider's model produced it."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    if isinstance(data := part.metadata.get("redacted"), str):
        return {"type": "redacted_thinking", "data": data}
    if not part.signature:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _default_fields(model: ClaudeModel, turns: Sequence[dict[str, Any]], *, shown: bool) -> dict[str, Any]:
    fields = (_SHOWN if shown and model.thinks_by_default else {}) | _binding_fields(model, turns)
    return {"thinking": {"type": "adaptive", **fields}} if fields else {}


def _binding_fields(model: ClaudeModel, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Let the API drop thinking whose prefix changed: users may shorten the history or change the tools."""
    if not model.binds_thinking or not any(map(_has_thinking, turns)):
        return {}
    return {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def _started_without_thinking(turns: Sequence[dict[str, Any]]) -> bool:
    """Return whether tool results answer a step that did not start with thinking, as another model's step does.

    The budgeted form requires every step of a turn to start with a thinking block, so it must not be requested then.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return not turns[-2]["content"][0]["type"].endswith("thinking")


def _has_thinking(turn: dict[str, Any]) -> bool:
    return any(block["type"] in ("thinking", "redacted_thinking") for block in turn["content"])


# claude-3-7-sonnet-20250219, claude-opus-4-20250514, us.anthropic.claude-opus-4-6-v1, anthropic/claude-4.6-opus
_NAME = r"claude[a-z-]*-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?"
_FAMILY = r"fable|mythos|opus|sonnet|haiku"
#: Default limit: enough for long answers with thinking, within what each generation allows.
_DEFAULT_TOKENS = 32_000
_UNKNOWN_TOKENS = 8192


class ClaudeModel(Value):
    """The features of a model by its name. Version (0, 0) is an unknown model, treated as the oldest thinking one."""

    family: str
    version: tuple[int, int]

    @property
    def supports_adaptive(self) -> bool:
        """``thinking: {"type": "adaptive"}`` with an effort."""
        return self.version >= (4, 6)

    @property
    def supports_budget(self) -> bool:
        """``thinking: {"type": "enabled", "budget_tokens": N}``; refused since 4.7."""
        return self.version <= (4, 6)

    @property
    def thinks_by_default(self) -> bool:
        return self.version >= (5, 0)

    @property
    def off_switch(self) -> str:
        """The lowest thinking setting; models that always think reject it with a clear message."""
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def binds_thinking(self) -> bool:
        """Earlier thinking is rejected if anything before it changed, unless the request asks to drop it.

        https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
        """
        return self.version >= (5, 1)

    @property
    def supports_schema(self) -> bool:
        """``output_config.format``; https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
        return self.version >= (4, 5)

    @property
    def max_output_tokens(self) -> int | None:
        """The longest answer including thinking; None if unknown."""
        if self.version < (3, 0):
            return None
        if self.version >= (4, 6):
            return 128_000
        if self.family == "opus" and (4, 0) <= self.version <= (4, 1):
            return 32_000
        return 64_000 if self.version >= (3, 7) else 8192 if self.version >= (3, 5) else 4096

    @property
    def default_max_tokens(self) -> int:
        return min(_DEFAULT_TOKENS, self.max_output_tokens or _UNKNOWN_TOKENS)


def parse_model_name(model: str) -> ClaudeModel:
    """Return the features that a model's name implies."""
    family = re.search(_FAMILY, model.lower())
    found = re.search(_NAME, model.lower())
    if found:
        version = (int(found[1]), int(found[2] or 0))
    else:
        version = (5, 0) if "claude-mythos" in model.lower() else (0, 0)
    return ClaudeModel(family[0] if family else "", version)


def build_models_request(endpoint: Endpoint) -> HttpRequest:
    """Return the request for all models at once: the default page size is 20.

    https://platform.claude.com/docs/en/api/models/list
    """
    url = build_api_url(endpoint, "/models")
    url += ("&" if "?" in url else "?") + "limit=1000"
    return HttpRequest("GET", url, build_headers(endpoint, "application/json"))
