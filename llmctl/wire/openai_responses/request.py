"""Build the request of a chat as input items, with reasoning right before what followed it. Nothing is stored there.

Reasoning and runs of the provider's own tools must be sent back unchanged and in place. A reasoning item is a
``Thinking`` part with the item in its metadata; its encrypted content is the signature, and a text in one piece is
not stored twice. Any other item (a web search, code that was run) is stored in the message's metadata under
``items``; an empty ``Thinking`` part marks its place and refers to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire.requests import (
    EVENT_STREAM,
    JSON,
    NameRule,
    ToolIdMap,
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
    list_tools,
    raise_output_limit,
    split_media_type,
    to_effort_level,
    to_token_budget,
)

TOOL_NAMES = NameRule()

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
    if has_tools(request):
        from llmctl.wire.tools import prepare_tools  # most chats have none

        request = prepare_tools(request, TOOL_NAMES)
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
        elif name == "tools":
            body[name] = join_tools(body.get(name, []), value)
        elif name == "tool_choice":
            body |= _encode_tool_choice(value, body, options)
        elif name not in _RESERVED_OPTIONS:
            body[name] = _merge_values(body.get(name), value)
    return body


def _encode_tool_choice(choice: Any, body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a ``ToolChoice``; a value of another shape is the provider's own."""
    from llmctl.wire.tools import ToolChoice

    if not isinstance(choice, ToolChoice):
        return {"tool_choice": choice}
    value: Any = choice.mode
    if choice.mode == "required" and len(choice.names) == 1:
        name = choice.names[0]
        hosted = {tool.get("type") for tool in list_tools(options.get("tools")) if isinstance(tool, Mapping)}
        is_function = name not in hosted or any(tool.get("name") == name for tool in body.get("tools", ()))
        value = {"type": "function", "name": name} if is_function else {"type": name}
    return {"tool_choice": value} | ({"parallel_tool_calls": False} if choice.is_single else {})


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


#: Metadata keys of a reasoning item and of the placeholder of another item.
_ITEM_KEY, _PLACEHOLDER_KEY = "responses_item", "responses_mark"
#: Key of the other items in a message's metadata.
ITEMS = "items"


def list_text_pieces(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the text pieces of a reasoning item: its summary, and the reasoning itself if the host shows it."""
    return _filter_texts([*_get_list(item, "summary"), *_get_list(item, "content")])


def reasoning_metadata(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of a reasoning item besides its text and signature."""
    # Null values, as ``status`` often is, are rejected when sent back.
    stored = {name: value for name, value in item.items() if name != "encrypted_content" and value is not None}
    if len(list_text_pieces(item)) == 1:
        for name in ("summary", "content"):
            pieces = _filter_texts(_get_list(stored, name))
            if pieces:
                stored[name] = [{key: value for key, value in pieces[0].items() if key != "text"}]
    return {_ITEM_KEY: stored}


def placeholder_metadata(number: int) -> dict[str, Any]:
    """Return the metadata of a placeholder for item ``number`` of the message's metadata."""
    return {_PLACEHOLDER_KEY: number}


def rebuild_item(part: Thinking, message: Message) -> dict[str, Any] | None:
    """Return the original item of a part; None if another wire produced it or it cannot be sent back.

    Nothing is stored at the provider, which would look there for an item without content.
    """
    if isinstance(number := part.metadata.get(_PLACEHOLDER_KEY), int):
        items = message.metadata.get(ITEMS)
        known = isinstance(items, list) and number < len(items) and isinstance(items[number], dict)
        return items[number] if known else None  # type: ignore[index]
    stored = part.metadata.get(_ITEM_KEY)
    if not isinstance(stored, Mapping) or not (part.signature or stored.get("content")):
        return None
    pieces_by_field = {
        name: [_fill_text(piece, part.text) for piece in _get_list(stored, name)] for name in ("summary", "content")
    }
    pieces_by_field = {name: pieces for name, pieces in pieces_by_field.items() if pieces or name == "summary"}
    return {**stored, **pieces_by_field} | ({"encrypted_content": part.signature} if part.signature else {})


def _filter_texts(pieces: list[Any]) -> list[dict[str, Any]]:
    return [piece for piece in pieces if isinstance(piece, dict) and isinstance(piece.get("text"), str)]


def _fill_text(piece: Any, text: str) -> Any:
    return piece if not isinstance(piece, Mapping) or "text" in piece else {**piece, "text": text}


def _get_list(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    return value if isinstance(value, list) else []


#: Metadata key of a text: its phase (commentary or final answer), which newer models expect back.
PHASE = "responses_phase"
#: Accepted call ids: longer ones are rejected.
_CALL_ID = r"(?s).{1,64}"

Item = dict[str, Any]


def find_instructions(messages: Iterable[Message]) -> str | None:
    """Return the system prompt if the conversation starts with one."""
    first = next(iter(messages), None)
    return first.text or None if first is not None and first.role == "system" else None


def encode_items(messages: Iterable[Message], dialect: Dialect) -> list[Item]:
    """Return the input items of all messages except a leading system prompt; assistant text is never empty.

    Files of tool results follow in a user message after the last result of their turn.
    """
    items: list[Item] = []
    files: list[Item] = []
    ids = ToolIdMap(_CALL_ID)
    for number, message in enumerate(messages):
        if message.role != "tool" and files:
            items.append({"role": "user", "content": files})
            files = []
        if message.role == "tool":
            items += [_encode_result(part, ids) for part in message.parts if isinstance(part, ToolResult)]
            files += [_encode_file(part) for part in message.parts if isinstance(part, File)]
        elif message.role == "assistant":
            ids.forget_answered()
            items += _encode_answer(message, ids)
        elif message.role != "system":
            _append_user_items(items, _encode_text_message("user", message))
        elif number:
            items += _encode_text_message(dialect.system_role, message)
    return items + ([{"role": "user", "content": files}] if files else [])


def _append_user_items(items: list[Item], new: list[Item]) -> None:
    """Append a user message; texts in a row become one: templates of local models want the roles to alternate."""
    contents = [item["content"] for item in (*items[-1:], *new) if item.get("role") == "user"]
    if len(contents) == 2 and all(isinstance(content, str) for content in contents):
        items[-1] = {**items[-1], "content": "\n\n".join(contents)}
    else:
        items += new


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: images and PDF, also by URL, and text."""
    kind, subtype = split_media_type(media_type)
    return kind == "image" or subtype == "pdf" or (is_text(media_type) and not by_url)


def _encode_text_message(role: str, message: Message) -> list[Item]:
    """Return a message of text and files; plain text if there is nothing else."""
    parts = [piece for part in message.parts if (piece := _encode_content(part))]
    if not parts:
        return []
    if all(part["type"] == "input_text" for part in parts):
        return [{"role": role, "content": "\n\n".join(part["text"] for part in parts)}]
    return [{"role": role, "content": parts}]


def _encode_content(part: Any) -> Item | None:
    if isinstance(part, File):
        return _encode_file(part)
    return {"type": "input_text", "text": part.text} if isinstance(part, Text) and part.text else None


def _encode_file(file: File) -> Item:
    kind, subtype = split_media_type(file.media_type)
    if is_text(file.media_type):
        return {"type": "input_text", "text": inline_text(file)}
    if kind == "image":
        return {"type": "input_image", "image_url": build_file_url(file), "detail": "auto"}
    if file.url and file.data is None:
        return {"type": "input_file", "file_url": file.url}
    name = file.name or f"file.{subtype}"
    return {"type": "input_file", "filename": name, "file_data": f"data:{file.media_type};base64,{encode_base64(file)}"}


def _encode_result(part: ToolResult, ids: ToolIdMap) -> Item:
    return {"type": "function_call_output", "call_id": ids.for_result(part.call_id), "output": part.content}


def _encode_answer(message: Message, ids: ToolIdMap) -> list[Item]:
    """Return the items of an answer. Reasoning that nothing follows is omitted: the API rejects it alone."""
    items: list[Item] = []
    waiting: list[Item] = []
    for part in message.parts:
        item = _encode_part(part, message, ids)
        if item is None:
            continue
        waiting.append(item)
        if item.get("type") != "reasoning":
            items += waiting
            waiting = []
    return items


def _encode_part(part: Any, message: Message, ids: ToolIdMap) -> Item | None:
    match part:
        case Thinking():
            return rebuild_item(part, message)
        case ToolCall():
            return _encode_call(part, ids)
        case Text(text) if text.strip():
            phase = part.metadata.get(PHASE)
            return {"role": "assistant", "content": text} | ({"phase": phase} if phase else {})
    return None


def _encode_call(call: ToolCall, ids: ToolIdMap) -> Item:
    extra = call.metadata.get("responses_call")
    own = dict(extra) if isinstance(extra, Mapping) else {}
    arguments = encode_arguments(call.arguments)
    return {"type": "function_call", "call_id": ids.for_call(call.id), "name": call.name, "arguments": arguments} | own
