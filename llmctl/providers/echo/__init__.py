"""A model that only repeats: in this process, offline, deterministic, and able to go wrong on demand.

It answers the body of an OpenAI chat completion (of embeddings and pictures, too), so that everything between a
prompt and its rows can be tried, tested and timed without a provider. A word counts as a token. ``help_text`` says
what it can be told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.providers import Provider
from llmctl.providers.echo.answer import write
from llmctl.providers.echo.errors import KINDS, Failure
from llmctl.providers.echo.options import BadOption, EchoOptions, help_lines, read
from llmctl.providers.echo.stream import Sleep, document, events

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
class EchoAnswer:
    """An HTTP answer. Names of headers are lower case; ``chunks`` may raise UnavailableError when it is read."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def respond(body: Mapping[str, Any], attempt: int = 1, *, sleep: Sleep = time.sleep) -> EchoAnswer:
    """Answer the body of an OpenAI chat completion; ``attempt`` counts from 1 within one request.

    ``sleep`` is called for every wait, so that a caller can end one early by raising.
    """
    try:
        options = read(body, attempt)
    except BadOption as error:
        return _refusal(_rejected("unknown_parameter", str(error), error.name))
    if options.fail is not None and options.error is None:
        return _refusal(options.fail, options.retry_after)
    if "messages" not in body and ("input" in body or "prompt" in body):
        return _other(body, options)
    if not _is_chat(body.get("messages")):
        return _refusal(_rejected("invalid_type", '"messages" takes a list of messages', "messages"))
    return _answer(body, options, sleep)


def help_text() -> str:
    """Return what `llmctl help` and the README say about the options."""
    return "\n".join(
        (
            "echo repeats the last message, word by word, and counts its words as tokens: nothing is sent and",
            "nothing costs. With -o NAME=VALUE it can be told what to say, and what shall go wrong:",
            "",
            *help_lines(),
            "",
            f"Kinds of failure: {', '.join(KINDS)}.",
            "Words of thinking and of a tool call count like those of the answer. max_tokens is obeyed, the other",
            "options of models are taken without effect, any other name is refused with status 400.",
            "`embed` gets vectors of 16 numbers (or `dimensions`), `image` pictures of one colour (`size`, `n`).",
        )
    )


def _answer(body: Mapping[str, Any], options: EchoOptions, sleep: Sleep) -> EchoAnswer:
    streams = bool(body.get("stream"))
    kind = "text/event-stream" if streams else "application/json"
    if options.html:
        return EchoAnswer(200, {"content-type": "text/html; charset=utf-8"}, iter((_PAGE,)))
    if options.empty:
        return EchoAnswer(200, {"content-type": kind}, iter(()))
    script = write(body, options)
    headers = {"content-type": kind, "x-request-id": f"req_{script.id}"}
    return EchoAnswer(200, headers, (events if streams else document)(script, options, sleep))


def _other(body: Mapping[str, Any], options: EchoOptions) -> EchoAnswer:
    from llmctl.providers.echo import embeddings_images  # not for chats

    try:
        answer = (
            b"" if options.empty else _PAGE if options.html else embeddings_images.document(body, usage=options.usage)
        )
    except ValueError as error:
        return _refusal(_rejected("invalid_value", str(error), ""))
    kind = "text/html; charset=utf-8" if options.html else "application/json"
    return EchoAnswer(200, {"content-type": kind, "x-request-id": "req_echo"}, iter((answer,) if answer else ()))


def _refusal(failure: Failure, retry_after: float | None = None) -> EchoAnswer:
    headers = {"content-type": "application/json"}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return EchoAnswer(failure.status, headers, iter((failure.body(),)))


def _rejected(code: str, message: str, param: str) -> Failure:
    return Failure(400, "invalid_request_error", code, message, param)


def _is_chat(messages: Any) -> bool:
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
