"""Build the request of a chat: messages, tools, schema and files, and thinking as each host expects it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire.requests import (
    EVENT_STREAM,
    JSON,
    NameRule,
    ToolIdMap,
    append_schema_instruction,
    build_file_url,
    build_post,
    build_url,
    encode_arguments,
    encode_base64,
    has_tools,
    inline_text,
    is_strict,
    is_text,
    join_tools,
    raise_output_limit,
    split_media_type,
    to_effort_level,
    to_token_budget,
)

#: https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
TOOL_NAMES = NameRule()


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    Raises :class:`UsageError` if the host has no field for the requested thinking.
    """
    url = build_url(endpoint, endpoint.dialect.chat_path.replace("{model}", quote(request.model, safe="")))
    accept = EVENT_STREAM if request.stream else JSON
    return build_post(endpoint, url, _build_body(request, endpoint.dialect), accept=accept)


def _build_body(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    if has_tools(request):
        from llmctl.wire.tools import prepare_tools  # most chats have none

        request = prepare_tools(request, TOOL_NAMES)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(_add_schema_instruction(request, dialect), dialect),
        "stream": request.stream,
    }
    if request.stream and dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    fixed = ("model", "messages", "stream")
    chosen = {name: value for name, value in request.options.items() if name not in fixed}
    if request.tools or "tools" in chosen:
        body["tools"] = join_tools(_encode_tools(request.tools), chosen.pop("tools", None))
    if "tool_choice" in chosen:
        chosen |= encode_tool_choice(chosen.pop("tool_choice"))
    if request.schema is not None and dialect.schema_mode != "none":
        body["response_format"] = _build_response_format(request.schema, dialect)
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


def encode_tool_choice(choice: Any) -> dict[str, Any]:
    """Return the fields of a ``ToolChoice``; a value of another shape is the provider's own."""
    from llmctl.wire.tools import ToolChoice

    if not isinstance(choice, ToolChoice):
        return {"tool_choice": choice}
    is_named = choice.mode == "required" and len(choice.names) == 1
    value = {"type": "function", "function": {"name": choice.names[0]}} if is_named else choice.mode
    return {"tool_choice": value} | ({"parallel_tool_calls": False} if choice.is_single else {})


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


_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-m4a": "m4a", "x-flac": "flac"}


def encode_messages(messages: Iterable[Message], dialect: Dialect) -> list[dict[str, Any]]:
    """Return the JSON messages. Empty messages are omitted; assistant text is never empty or blank.

    Consecutive messages of the user become one, and so do consecutive texts of the assistant: several hosts, and the
    templates of local models, want them to alternate. Files of tool results follow in a user message after the last
    result of their turn: a tool message is text only, and nothing may come between a call and its results.
    """
    encoded: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    ids = ToolIdMap(dialect.tool_call_ids)
    for message in messages:
        if message.role != "tool" and files:
            _append_message(encoded, {"role": "user", "content": files})
            files = []
        if message.role == "tool":
            encoded += _encode_results(message, ids)
            files += [_encode_file(part, dialect) for part in message.parts if isinstance(part, File)]
        elif one := _encode_message(message, dialect, ids):
            _append_message(encoded, one)
    return encoded + ([{"role": "user", "content": files}] if files else [])


def _append_message(encoded: list[dict[str, Any]], message: dict[str, Any]) -> None:
    last = encoded[-1] if encoded else {}
    joins = message["role"] in ("user", "assistant") and last.get("role") == message["role"]
    if joins and last.keys() == {"role", "content"} and None not in (last["content"], message["content"]):
        encoded[-1] = {**message, "content": _join_contents(last["content"], message["content"])}
    else:
        encoded.append(message)


def _join_contents(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = ([{"type": "text", "text": one}] if isinstance(one, str) else one for one in (first, second))
    return [part for one in parts for part in one]


def _encode_message(message: Message, dialect: Dialect, ids: ToolIdMap) -> dict[str, Any] | None:
    if message.role == "assistant":
        return _encode_assistant(message, dialect, ids)
    if message.role == "system":
        return {"role": dialect.system_role, "content": message.text} if message.text else None
    content = _encode_user_content(message, dialect)
    return {"role": "user", "content": content} if content else None


def _encode_results(message: Message, ids: ToolIdMap) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": ids.for_result(part.call_id), "content": part.content}
        for part in message.parts
        if isinstance(part, ToolResult)
    ]


def _encode_assistant(message: Message, dialect: Dialect, ids: ToolIdMap) -> dict[str, Any] | None:
    field = dialect.thinking_replay_field
    text = message.text
    ids.forget_answered()
    calls = [_encode_call(call, dialect, ids) for call in message.tool_calls]
    if not text.strip() and not calls:
        return None
    thinking = [part for part in message.parts if isinstance(part, Thinking)]
    content: Any = text if text.strip() else None
    if field == "content" and any(part.text for part in thinking):
        content = _encode_content_parts(message)
    return (
        {"role": "assistant", "content": content}
        | encode_thinking(thinking, field)
        | ({"tool_calls": calls} if calls else {})
    )


def _encode_call(call: ToolCall, dialect: Dialect, ids: ToolIdMap) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "id": ids.for_call(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": encode_arguments(call.arguments)},
    }
    if dialect.thinking_replay_field == "extra_content" and "extra_content" in call.metadata:
        encoded["extra_content"] = call.metadata["extra_content"]
    return encoded


def _encode_content_parts(message: Message) -> list[dict[str, Any]]:
    """Return thinking and text as content parts: https://docs.mistral.ai/capabilities/reasoning/."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Thinking) and part.text:
            parts.append({"type": "thinking", "thinking": [{"type": "text", "text": part.text}]})
        elif isinstance(part, Text) and part.text.strip():
            parts.append({"type": "text", "text": part.text})
    return parts


def _encode_user_content(message: Message, dialect: Dialect) -> str | list[dict[str, Any]]:
    """Return plain text if there is nothing else: not every host accepts a list."""
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, File):
            parts.append(_encode_file(part, dialect))
        elif isinstance(part, Text) and part.text:
            parts.append({"type": "text", "text": part.text})
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text, and the types of the dialect; audio and text not by URL."""
    kind = split_media_type(media_type)
    if is_text(media_type) or not "/".join(kind).startswith(dialect.files):
        return is_text(media_type) and not by_url
    return not by_url or kind[0] in ("image", "video") or (kind[1] == "pdf" and dialect.document_part != "file")


def _encode_file(file: File, dialect: Dialect) -> dict[str, Any]:
    kind, subtype = split_media_type(file.media_type)
    if is_text(file.media_type):
        return {"type": "text", "text": inline_text(file)}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": build_file_url(file)}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": build_file_url(file)}}
    if kind == "audio":
        format = _AUDIO_FORMATS.get(subtype, subtype)
        return {"type": "input_audio", "input_audio": {"data": encode_base64(file), "format": format}}
    if dialect.document_part == "document_url":
        return {"type": "document_url", "document_url": build_file_url(file)}
    if dialect.document_part == "file_url":
        return {"type": "file_url", "file_url": {"url": file.url or encode_base64(file)}}
    name = file.name or f"file.{subtype}"
    return {"type": "file", "file": {"filename": name, "file_data": build_file_url(file)}}


def encode_thinking(parts: Iterable[Thinking], field: str | None) -> dict[str, Any]:
    """Return earlier thinking as fields of an assistant message, for the dialect's ``thinking_replay_field``.

    ``reasoning_details`` returns each detail unchanged; ``extra_content`` Gemini's signature; any other field
    (``reasoning_content``, ``reasoning``) the text. ``content`` (Mistral) is part of the message.
    """
    parts = list(parts)
    if field is None or field == "content" or not parts:
        return {}
    if field == "extra_content":
        extras = [part.metadata["extra_content"] for part in parts if part.metadata.get("extra_content")]
        return {field: extras[-1]} if extras else {}
    if field == "reasoning_details":
        details = [_encode_detail(part) for part in parts if "type" in part.metadata]
        if details:
            return {field: details}
        field = "reasoning"
    text = "".join(part.text for part in parts)
    return {field: text} if text else {}


def _encode_detail(part: Thinking) -> dict[str, Any]:
    detail = dict(part.metadata)
    if part.text:
        detail["summary" if detail.get("type") == "reasoning.summary" else "text"] = part.text
    return detail | ({"signature": part.signature} if part.signature else {})
