"""Build the request of a chat: text, images in their own field, call arguments as objects.

https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire.requests import (
    NameRule,
    build_post,
    build_url,
    encode_base64,
    has_tools,
    inline_text,
    is_text,
    join_tools,
    parse_arguments,
    split_media_type,
    to_effort_level,
)

TOOL_NAMES = NameRule()

_RESERVED_OPTIONS = ("model", "messages", "stream")
#: Options next to ``options``, which holds those of the model.
_TOP_LEVEL_OPTIONS = (
    "keep_alive",
    "format",
    "think",
    "truncate",
    "shift",
    "logprobs",
    "top_logprobs",
    "tools",
    "dimensions",
)
_ALIASES = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    A prompt longer than the context is rejected: by default the server silently drops its start.
    """
    if has_tools(request):
        request = _prepare_tools(request)
    chosen = split_options(request.options)
    # Both fields: https://github.com/ollama/ollama/blob/main/api/types.go (older servers ignore them).
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request.messages),
        "stream": request.stream,
        "truncate": False,
        "shift": False,
    }
    if tools := join_tools(_encode_tools(request.tools), chosen.pop("tools", None)):
        body["tools"] = tools
    if request.schema is not None:
        body["format"] = request.schema
    if request.thinking is not None:
        level = to_effort_level(request.thinking)
        body["think"] = False if level == "none" else level
    body |= dict(endpoint.dialect.extra) | chosen
    return build_post(endpoint, build_api_url(endpoint, "/chat"), body)


def _prepare_tools(request: ChatRequest) -> ChatRequest:
    """Return the request with names and schemas that Ollama takes. It has no choice among tools, but can offer none."""
    from llmctl.wire.tools import ToolChoice, prepare_tools  # most chats have none

    request = prepare_tools(request, TOOL_NAMES)
    options = dict(request.options)
    choice = options.pop("tool_choice", None)
    if choice is None:
        return request
    if not isinstance(choice, ToolChoice) or choice.mode == "required":
        raise UsageError(
            "this connection cannot force the model to call a tool",
            hint="use -o tool_choice=auto or none",
            reason="tool_choice",
        )
    if choice.mode == "none":
        options.pop("tools", None)
        request = request.replace(tools=())
    return request.replace(options=options)


def split_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's options as body fields: those of the request at the top, the model's below ``options``."""
    chosen = {name: value for name, value in options.items() if name not in _RESERVED_OPTIONS}
    above = {name: chosen.pop(name) for name in _TOP_LEVEL_OPTIONS if name in chosen}
    given = chosen.pop("options", None)
    of_model = {_ALIASES.get(name, name): value for name, value in chosen.items()}
    if isinstance(stop := of_model.get("stop"), str):
        of_model["stop"] = [stop]
    of_model |= given if isinstance(given, dict) else {}
    return above | ({"options": of_model} if of_model else {})


def _encode_tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


_KNOWN_PATHS = ("/v1", "/api")


def build_api_url(endpoint: Endpoint, path: str) -> str:
    """Return the URL of a path below ``/api``; base URLs may end with the host, ``/api`` or ``/v1``."""
    base, mark, query = endpoint.base_url.partition("?")
    base = base.rstrip("/")
    for path_suffix in _KNOWN_PATHS:
        base = base.removesuffix(path_suffix)
    return build_url(endpoint.replace(base_url=base + mark + query), f"/api{path}")


#: Marks thinking that this wire produced; thinking of other providers is not sent back.
ORIGIN = "ollama"
_IMAGE_SUBTYPES = ("jpeg", "jpg", "png", "webp")


def encode_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the JSON messages; empty messages are omitted, and consecutive ones of the user become one.

    Images of tool results follow in a user message after the last result of their turn.
    """
    encoded: list[dict[str, Any]] = []
    images: list[str] = []
    for message in messages:
        if message.role != "tool" and images:
            encoded.append(_image_message(images))
            images = []
        if message.role == "tool":
            encoded += [_encode_result(part) for part in message.parts if isinstance(part, ToolResult)]
            images += _encode_images(message)
        elif one := _encode_assistant(message) if message.role == "assistant" else _encode_user(message):
            _append_message(encoded, one)
    return encoded + ([_image_message(images)] if images else [])


def _append_message(encoded: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Append a message; templates of models want those of user and assistant to alternate."""
    last = encoded[-1] if encoded else {}
    plain = {"role", "content", "images"}
    joins = message["role"] in ("user", "assistant") and last.get("role") == message["role"]
    if joins and last.keys() <= plain and message.keys() <= plain:
        images = last.get("images", []) + message.get("images", [])
        content = "\n\n".join(filter(None, (last["content"], message["content"])))
        encoded[-1] = {**last, "content": content} | ({"images": images} if images else {})
    else:
        encoded.append(message)


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text and images, as bytes."""
    return not by_url and (_is_image(media_type) or is_text(media_type))


def _encode_user(message: Message) -> dict[str, Any] | None:
    texts = [text for part in message.parts if (text := _part_text(part))]
    images = _encode_images(message)
    if not texts and not images:
        return None
    return {"role": message.role, "content": "\n\n".join(texts)} | ({"images": images} if images else {})


def _part_text(part: Any) -> str:
    if isinstance(part, File) and not _is_image(part.media_type):
        return _inline_file(part)
    return part.text if isinstance(part, Text) else ""


def _encode_assistant(message: Message) -> dict[str, Any] | None:
    calls = [_encode_call(call) for call in message.tool_calls]
    if not message.text.strip() and not calls:
        return None
    thinking = "".join(
        part.text for part in message.parts if isinstance(part, Thinking) and part.metadata.get("wire") == ORIGIN
    )
    return (
        {"role": "assistant", "content": message.text}
        | ({"thinking": thinking} if thinking else {})
        | ({"tool_calls": calls} if calls else {})
    )


def _encode_call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": parse_arguments(call.arguments)}}


def _encode_result(part: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "tool_name": part.name, "content": part.content}


def _image_message(images: list[str]) -> dict[str, Any]:
    return {"role": "user", "content": "", "images": images}


def _encode_images(message: Message) -> list[str]:
    files = (part for part in message.parts if isinstance(part, File))
    return [encode_base64(file) for file in files if _is_image(file.media_type)]


def _is_image(media_type: str) -> bool:
    kind, subtype = split_media_type(media_type)
    return kind == "image" and subtype in _IMAGE_SUBTYPES


def _inline_file(file: File) -> str:
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection does not accept {file.media_type}: {file.name or 'attachment'}",
            hint="it accepts images (jpeg, png, webp) and text",
            reason="attachment",
        )
    return inline_text(file)
