"""Read requests that other programs wrote: the opposite of each wire's ``build_request``.

A conversation reads the same whoever sent it. An earlier answer in a request is read by the wire's own parser of
answers, so that it equals the message that was recorded when it came.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from llmctl.core.chat import ChatRequest, ChatResponse, File, Message, Part, ResponseBuilder, Text, ToolSpec
from llmctl.core.errors import LlmctlError
from llmctl.core.http import Dialect
from llmctl.core.media_types import UNKNOWN, detect, guess_from_name
from llmctl.core.registry import Registry
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.wire import WIRES

Json = Mapping[str, Any]

_DIALECT = Dialect()

#: What a request is for. ``other``: nothing that a model answers (files, batches, an unknown path).
Kind = Literal["chat", "embedding", "image", "models", "count", "other"]


class Operation(Value):
    """What a path asks for, and in which protocol."""

    wire: str
    kind: Kind
    #: The model, where the path names it.
    model: str | None = None


RequestReader = Callable[[Operation, Json], ChatRequest]

READERS: Registry[RequestReader] = Registry(
    "reader of requests",
    "llmctl.wire.incoming",
    {
        "openai-chat": "openai:read_chat_request",
        "openai-responses": "openai:read_responses_request",
        "anthropic": "anthropic:read_request",
        "gemini": "gemini:read_request",
        "ollama": "ollama:read_request",
    },
)

_OPENAI: tuple[tuple[str, str, Kind], ...] = (
    ("/chat/completions", "openai-chat", "chat"),
    ("/completions", "openai-chat", "chat"),
    ("/responses", "openai-responses", "chat"),
    ("/embeddings", "openai-chat", "embedding"),
    ("/images/generations", "openai-chat", "image"),
    ("/images/edits", "openai-chat", "image"),
    ("/responses/input_tokens", "openai-responses", "count"),
)
_OLLAMA: dict[str, Kind] = {
    **{"/api/chat": "chat", "/api/generate": "chat", "/api/embed": "embedding", "/api/embeddings": "embedding"},
    **{"/api/tags": "models"},
}
_ANTHROPIC: dict[str, Kind] = {"/v1/messages": "chat", "/v1/messages/count_tokens": "count", "/v1/models": "models"}
_GEMINI: dict[str, Kind] = {
    **{"generateContent": "chat", "streamGenerateContent": "chat", "countTokens": "count"},
    **{"embedContent": "embedding", "batchEmbedContents": "embedding"},
}


def identify(method: str, path: str, headers: Mapping[str, str]) -> Operation:
    """Return what a request is, by its path without query, and by its headers (names in lower case).

    Where two protocols share a path (``/v1/models``, ``/v1/files``), the header that only one of them sends decides.
    """
    is_post = method == "POST"
    if path in _OLLAMA:
        return Operation("ollama", _OLLAMA[path])
    if "anthropic-version" in headers or path.startswith("/v1/messages"):
        kind = _ANTHROPIC.get(path, "other")
        return Operation("anthropic", kind if is_post or kind == "models" else "other")
    for ending, wire, kind in _OPENAI:
        if is_post and path.endswith(ending):
            return Operation(wire, kind)
    model, _, verb = path.rpartition("/models/")[2].partition(":")
    if "/models/" in path and verb:
        return Operation("gemini", _GEMINI.get(verb, "other") if is_post else "other", model)
    if "x-goog-api-key" in headers or path.startswith("/v1beta/"):
        return Operation("gemini", "models" if path.endswith("/models") else "other")
    if path.startswith("/api/") and not path.startswith("/api/v"):
        return Operation("ollama", "other")
    return Operation("openai-chat", "models" if path.endswith("/models") else "other")


def parse_request(operation: Operation, body: bytes) -> ChatRequest:
    """Return the chat request in a body. Raises ValueError where it cannot be read."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("the body is not a JSON object")
    try:
        request = READERS.load(operation.wire)(operation, document)
    except (TypeError, AttributeError, KeyError) as error:  # a value of another type where the protocol has one
        raise ValueError(f"the body is not a request of {operation.wire}: {error}") from error
    if not request.messages:
        raise ValueError(f"the body is not a request of {operation.wire}: it has no messages")
    return request


#: Names of errors by status: https://platform.claude.com/docs/en/api/errors, https://ai.google.dev/gemini-api/docs/troubleshooting
_ANTHROPIC_ERRORS = {401: "authentication_error", 402: "billing_error", 403: "permission_error"}
_GOOGLE_ERRORS = {401: "UNAUTHENTICATED", 402: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED", 502: "UNAVAILABLE"}


def build_refusal(wire: str, status: int, reason: str, message: str) -> bytes:
    """Return the body of an error in the words of a protocol."""
    match wire:
        case "anthropic":
            kind = _ANTHROPIC_ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
            body: Json = {"type": "error", "error": {"type": kind, "message": message}}
        case "gemini":
            name = _GOOGLE_ERRORS.get(status, "FAILED_PRECONDITION")
            body = {"error": {"code": status, "message": message, "status": name}}
        case "ollama":
            body = {"error": message}
        case _:
            body = {"error": {"message": message, "type": reason, "param": None, "code": reason}}
    return dumps(body).encode()


def read_answer(wire: str, document: Json) -> Message:
    """Return an earlier answer, given as the document with which the provider would have sent it."""
    return read_response(wire, document).message


def read_response(wire: str, document: Json) -> ChatResponse:
    """Return the answer in a document, with its usage."""
    builder = ResponseBuilder()
    try:
        for event in WIRES.load(wire).parse_response(dumps(document).encode("utf-8", "surrogatepass"), _DIALECT):
            builder.add(event)
    except LlmctlError:
        pass  # an empty or odd answer: what could be read of it
    return builder.build()


def read_texts(content: Any, types: Iterable[str] = ("text", "input_text", "output_text")) -> str:
    """Return the text of a content that is a text or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = [block for block in as_list(content) if isinstance(block, Mapping) and block.get("type", "text") in types]
    return "\n\n".join(str(block.get("text") or "") for block in blocks)


def read_url(url: Any, name: Any = None, media_type: str = UNKNOWN) -> File | None:
    """Return the file at a URL; one in a data URL has its content, which is None where it cannot be read."""
    if not isinstance(url, str) or not url:
        return None
    if url.startswith("data:"):
        declared, _, data = url[5:].partition(";base64,")
        return read_base64(data, name, declared)
    guessed = guess_from_name(url)
    return File(media_type if guessed == UNKNOWN else guessed, url=url, name=as_text(name))


def read_base64(data: Any, name: Any = None, media_type: Any = None) -> File | None:
    """Return the file with a content in Base64; None where that is none."""
    try:
        content = b64decode(data, validate=False)
    except (ValueError, TypeError):
        return None
    file_name = as_text(name)
    return File(detect(file_name or "", content, as_text(media_type)), content, name=file_name) if content else None


def without(document: Json, *names: str) -> dict[str, Any]:
    """Return the fields of a document except for these: what is left are the options of a request."""
    return {name: value for name, value in document.items() if name not in names}


def parts_of(*parts: Part | None) -> tuple[Part, ...]:
    """Return the parts that are there."""
    return tuple(part for part in parts if part is not None and part != Text(""))


def tool_spec(name: Any, description: Any, parameters: Any) -> ToolSpec:
    return ToolSpec(str(name), as_text(description) or "", parameters if isinstance(parameters, Mapping) else {})


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
