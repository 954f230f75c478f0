"""The echo provider repeats the prompt: in this process, offline, deterministic, with faults on demand.

It answers OpenAI requests for chats, embeddings and images, so that everything from the prompt to the stored rows can
be tried, tested and timed without a provider. One word counts as one token. ``help_text`` describes its options.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.http import Dialect
from llmctl.providers import Provider
from llmctl.providers.echo.chat import (
    KINDS,
    EchoError,
    EchoOptions,
    InvalidOption,
    Sleep,
    build_reply,
    document,
    format_help_lines,
    parse_options,
    stream_reply,
)

PROVIDER = Provider(
    name="echo",
    base_url="echo://localhost",
    wire="echo",
    auth="none",
    default_model="echo",
    embedding_model="echo",
    image_model="echo",
    dialect=Dialect(image_edits="json"),
    local=True,
)

_PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body><h1>Please sign in</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class EchoResponse:
    """An HTTP response. Header names are lower case; iterating ``chunks`` may raise UnavailableError."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def respond(body: Mapping[str, Any], attempt: int = 1, *, sleep: Sleep = time.sleep) -> EchoResponse:
    """Answer the body of an OpenAI request; ``attempt`` counts from 1 within one request.

    ``sleep`` is called for every wait, so that a caller can abort one by raising.
    """
    try:
        options = parse_options(body, attempt)
    except InvalidOption as error:
        return _error_response(_invalid_request("unknown_parameter", str(error), error.name))
    if options.fail is not None and options.error is None:
        return _error_response(options.fail, options.retry_after)
    if "messages" not in body and ("input" in body or "prompt" in body):
        return _build_other_response(body, options)
    if not _is_chat(body.get("messages")):
        return _error_response(_invalid_request("invalid_type", '"messages" must be a list of messages', "messages"))
    return _build_response(body, options, sleep)


def help_text() -> str:
    """Return the text about the options for `llmctl help` and the README."""
    return "\n".join(
        (
            "echo repeats the last message word by word and counts words as tokens. Nothing is sent and nothing",
            "costs money. Use -o NAME=VALUE to choose the answer or to simulate failures:",
            "",
            *format_help_lines(),
            "",
            f"Kinds of failure: {', '.join(KINDS)}.",
            "Words of thinking and tool calls count like those of the answer. max_tokens works; other model options",
            "are accepted but ignored; unknown names are rejected with status 400.",
            "`embed` returns vectors of 16 numbers (or `dimensions`), `image` images of one colour (`size`, `n`).",
        )
    )


def _build_response(body: Mapping[str, Any], options: EchoOptions, sleep: Sleep) -> EchoResponse:
    streams = bool(body.get("stream"))
    kind = "text/event-stream" if streams else "application/json"
    if options.html:
        return EchoResponse(200, {"content-type": "text/html; charset=utf-8"}, iter((_PAGE,)))
    if options.empty:
        return EchoResponse(200, {"content-type": kind}, iter(()))
    reply = build_reply(body, options)
    headers = {"content-type": kind, "x-request-id": f"req_{reply.id}"}
    return EchoResponse(200, headers, (stream_reply if streams else document)(reply, options, sleep))


def _build_other_response(body: Mapping[str, Any], options: EchoOptions) -> EchoResponse:
    from llmctl.providers.echo import embeddings_images  # not needed by chats

    try:
        answer = (
            b"" if options.empty else _PAGE if options.html else embeddings_images.document(body, usage=options.usage)
        )
    except ValueError as error:
        return _error_response(_invalid_request("invalid_value", str(error), ""))
    kind = "text/html; charset=utf-8" if options.html else "application/json"
    return EchoResponse(200, {"content-type": kind, "x-request-id": "req_echo"}, iter((answer,) if answer else ()))


def _error_response(find_error: EchoError, retry_after: float | None = None) -> EchoResponse:
    headers = {"content-type": "application/json"}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return EchoResponse(find_error.status, headers, iter((find_error.body(),)))


def _invalid_request(code: str, message: str, param: str) -> EchoError:
    return EchoError(400, "invalid_request_error", code, message, param)


def _is_chat(messages: Any) -> bool:
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
