"""The echo provider repeats the prompt: in this process, offline, deterministic, with faults on demand.

It answers OpenAI requests for chats, embeddings and images, so that everything from the prompt to the stored rows can
be tried, tested and timed without a provider. One word counts as one token. ``help_text`` describes its options.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.http import Dialect
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.providers import Provider

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


class EchoResponse(Value):
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
            "`embed` returns vectors of 16 numbers (or `dimensions`), `image` images of one color (`size`, `n`).",
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
    from llmctl.providers import echo_media  # not needed by chats

    try:
        answer = b"" if options.empty else _PAGE if options.html else echo_media.document(body, usage=options.usage)
    except ValueError as error:
        return _error_response(_invalid_request("invalid_value", str(error), ""))
    kind = "text/html; charset=utf-8" if options.html else "application/json"
    return EchoResponse(200, {"content-type": kind, "x-request-id": "req_echo"}, iter((answer,) if answer else ()))


def _error_response(error: EchoError, retry_after: float | None = None) -> EchoResponse:
    headers = {"content-type": "application/json"}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return EchoResponse(error.status, headers, iter((error.body(),)))


def _invalid_request(code: str, message: str, param: str) -> EchoError:
    return EchoError(400, "invalid_request_error", code, message, param)


def _is_chat(messages: Any) -> bool:
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)


class EchoError(Value):
    """An HTTP error. ``code`` is the provider's error code, or the status if it has none."""

    status: int
    type: str
    code: str | int | None
    message: str
    param: str | None = None

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return dumps({"error": error}).encode()


_REFUSED = "invalid_request_error"

KINDS: dict[str, EchoError] = {
    "auth": EchoError(401, _REFUSED, "invalid_api_key", "incorrect API key provided"),
    "content_filter": EchoError(400, _REFUSED, "content_filter", "the content filter rejected the prompt"),
    "context_length": EchoError(
        400, _REFUSED, "context_length_exceeded", "the prompt is longer than the context of the model"
    ),
    "model_not_found": EchoError(404, _REFUSED, "model_not_found", "the model does not exist"),
    "quota": EchoError(429, "insufficient_quota", "insufficient_quota", "you exceeded your current quota"),
    "rate_limit": EchoError(429, "requests", "rate_limit_exceeded", "rate limit reached"),
}

_USUAL = {"401": "auth", "404": "model_not_found", "429": "rate_limit"}


def find_error(fail: str) -> EchoError:
    """Return the error of that name or status; raise ValueError with the valid ones if there is none."""
    known = KINDS.get(_USUAL.get(fail, fail))
    if known is not None:
        return known
    if not (fail.isascii() and fail.isdecimal() and 400 <= int(fail) <= 599):
        raise ValueError(f"a status from 400 to 599 or one of {', '.join(KINDS)}")
    status = int(fail)
    kind = "server_error" if status >= 500 else _REFUSED
    return EchoError(status, kind, status, f"simulated failure with status {status}")


_MODEL_OPTIONS = """
    audio chat_template_kwargs dimensions enable_thinking encoding_format frequency_penalty images include_reasoning
    input keep_alive logit_bias logprobs output_format prompt quality size
    max_completion_tokens max_tokens messages metadata min_p modalities model n num_ctx parallel_tool_calls
    prediction presence_penalty prompt_cache_key reasoning reasoning_effort repeat_penalty repetition_penalty
    response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice
    tools top_k top_logprobs top_p typical_p user verbosity web_search_options
"""

#: Options of real models. Accepted; only the two limits have an effect.
MODEL_OPTIONS = frozenset(_MODEL_OPTIONS.split())

#: Options that ``fail_times`` limits to the first attempts.
FAULT_OPTIONS = frozenset(("fail", "cut", "end", "error", "garbage", "html", "empty", "stall"))


class InvalidOption(Exception):
    """An unknown option or an invalid value."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class EchoOptions(Value):
    """The options of one answer. None means not set."""

    reply: str | None = None
    replies: str = ""
    thinking: str = ""
    repeat: int = 1
    tool: str = ""
    delay: float = 0.0
    stall: float = 0.0
    after: int = 0
    length: int | None = None
    usage: bool = True
    fail: EchoError | None = None
    fail_times: int | None = None
    retry_after: float | None = None
    cut: int | None = None
    end: int | None = None
    error: int | None = None
    garbage: int | None = None
    html: bool = False
    empty: bool = False
    #: The user's limit: the smaller of max_tokens and max_completion_tokens.
    max_words: int | None = None


def parse_options(body: Mapping[str, Any], attempt: int) -> EchoOptions:
    """Return the options in a request body, as they apply to this attempt.

    Raises InvalidOption for a field that is neither our option nor a model option, and for invalid values.
    """
    for name in body:
        if name not in OPTIONS and name not in MODEL_OPTIONS:
            raise InvalidOption(name, f'unknown option "{name}"; available: {", ".join(OPTIONS)}')
    given = {name: _parse_option(name, parse, body) for name, (parse, _) in OPTIONS.items() if name in body}
    given = {name: value for name, value in given.items() if value is not None}
    limits = [
        _parse_option(name, _parse_count, body) for name in ("max_tokens", "max_completion_tokens") if name in body
    ]
    limit = min((limit for limit in limits if limit is not None), default=None)
    return EchoOptions(**_options_for_attempt(attempt, given), max_words=limit)


def format_help_lines() -> list[str]:
    """Return one aligned line for each option."""
    return [f"  {name:<12} {text}" for name, (_, text) in OPTIONS.items()]


def _options_for_attempt(attempt: int, given: dict[str, Any]) -> dict[str, Any]:
    times = given.get("fail_times")
    if times is None:
        return given
    if attempt > times:
        return {name: value for name, value in given.items() if name not in FAULT_OPTIONS}
    return given if FAULT_OPTIONS & given.keys() else given | {"fail": find_error("503")}


def _parse_option(name: str, parse: Callable[[Any], Any], body: Mapping[str, Any]) -> Any:
    value = body[name]
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        raise InvalidOption(name, f'"{name}" must be {error}, got "{value}"') from None


def _parse_text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _parse_seconds(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds")
    return number


def _parse_count(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("a whole number")
    return int(text)


def _parse_flag(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if (word := str(value).lower()) not in words:
        raise ValueError("true or false")
    return words[word]


#: Each option with its parser and its help, in the order of the help.
OPTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "reply": (_parse_text, "TEXT: answer with this instead of repeating the last message"),
    "replies": (_parse_text, "TEXT: one line per answer; after the last line it is repeated"),
    "thinking": (_parse_text, "TEXT: thinking before the answer"),
    "repeat": (_parse_count, "N: repeat the answer N times"),
    "tool": (
        _parse_text,
        "'NAME {JSON}': call a tool; one call per line, an empty line between steps; then answer",
    ),
    "delay": (_parse_seconds, "SECONDS: wait before each word"),
    "stall": (_parse_seconds, "SECONDS: wait once, after the number of words in `after`"),
    "after": (_parse_count, "N: words before the stall; default 0, before the first byte"),
    "length": (_parse_count, "N: finish with reason `length` after N words"),
    "usage": (_parse_flag, "false: report no usage"),
    "fail": (lambda value: find_error(str(value)), "STATUS or KIND: fail with that HTTP status, or a kind below"),
    "fail_times": (_parse_count, "N: fail only in the first N attempts; implies fail=503 without another failure"),
    "retry_after": (_parse_seconds, "SECONDS: the error asks to wait that long"),
    "cut": (_parse_count, "N: cut the connection after N words"),
    "end": (_parse_count, "N: end the stream after N words, without its terminal event"),
    "error": (_parse_count, "N: end the stream with an error event after N words; `fail` selects the error"),
    "garbage": (_parse_count, "N: send an unreadable event after N words"),
    "html": (_parse_flag, "true: send a web page with status 200"),
    "empty": (_parse_flag, "true: send an empty body with status 200"),
}


EMPTY_PROMPT_REPLY = "The prompt is empty: there is nothing to repeat."

_WORD = re.compile(r"\s*\S+(?:\s+\Z)?")
_STEP = r"\n\s*\n"

Delta = dict[str, Any]


class EchoReply(Value):
    """One answer. Each delta is one word; joined, they form the text."""

    id: str
    model: str
    deltas: Sequence[Delta]
    finish_reason: str
    #: None if the user disabled it.
    usage: Mapping[str, Any] | None


def build_reply(body: Mapping[str, Any], options: EchoOptions) -> EchoReply:
    """Return the answer to a request body."""
    messages: list[Mapping[str, Any]] = body["messages"]
    calls = _build_calls(messages, options)
    deltas = _build_deltas(_reply_text(messages, options, calls), options, calls)
    limit = min((n for n in (options.length, options.max_words) if n is not None), default=len(deltas))
    cut_short = options.length is not None or limit < len(deltas)
    deltas = deltas[:limit]
    return EchoReply(
        id=f"chatcmpl-echo-{len(messages)}",
        model=str(body.get("model") or "echo"),
        deltas=deltas,
        finish_reason="length" if cut_short else "tool_calls" if calls else "stop",
        usage=_count_usage(messages, deltas) if options.usage else None,
    )


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))


def _reply_text(messages: Sequence[Mapping[str, Any]], options: EchoOptions, calls: Sequence[Delta]) -> str:
    if lines := options.replies.splitlines():
        answers = sum(message.get("role") == "assistant" for message in messages)
        text = lines[min(answers, len(lines) - 1)]
    elif options.reply is not None:
        text = options.reply
    elif calls:
        return ""
    else:
        texts = (message_text(message) for message in reversed(messages) if message.get("role") == "user")
        text = next((found for found in texts if found.strip()), EMPTY_PROMPT_REPLY)
    return " ".join([text] * options.repeat)


def _build_deltas(text: str, options: EchoOptions, calls: Sequence[Delta]) -> list[Delta]:
    deltas = [{"reasoning_content": word} for word in _WORD.findall(options.thinking)]
    deltas += [{"content": word} for word in _WORD.findall(text)]
    for index, call in enumerate(calls):
        name, arguments = call["name"], call["arguments"]
        start = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        pieces = [{"index": index, "function": {"arguments": word}} for word in _WORD.findall(arguments)]
        deltas += [{"tool_calls": [piece]} for piece in (start, *pieces)]
    return deltas


def _is_prompt(messages: Sequence[Mapping[str, Any]], place: int) -> bool:
    """Whether a message is of the user: one with nothing but files after a result holds the files of that result."""
    message = messages[place]
    if message.get("role") != "user":
        return False
    return place == 0 or messages[place - 1].get("role") != "tool" or bool(message_text(message).strip())


def _build_calls(messages: Sequence[Mapping[str, Any]], options: EchoOptions) -> list[Delta]:
    """Return the calls of this step, none after the last one. Ids are numbered across steps."""
    if not options.tool:
        return []
    prompts = (place for place, message in enumerate(messages) if _is_prompt(messages, place))
    last_user = max(prompts, default=0)
    step = sum(bool(message.get("tool_calls")) for message in messages[last_user:])
    steps = re.split(_STEP, options.tool.strip())
    if step >= len(steps):
        return []
    earlier = sum(len(message.get("tool_calls") or ()) for message in messages)
    lines = [line.strip() for line in steps[step].splitlines() if line.strip()]
    calls = []
    for number, line in enumerate(lines, start=earlier + 1):
        name, _, arguments = line.partition(" ")
        calls.append({"id": f"call_echo_{number}", "name": name, "arguments": arguments.strip() or "{}"})
    return calls


def _count_usage(messages: Sequence[Mapping[str, Any]], deltas: Sequence[Delta]) -> dict[str, Any]:
    prompt = sum(len(message_text(message).split()) for message in messages)
    thinking = sum("reasoning_content" in delta for delta in deltas)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(deltas),
        "total_tokens": prompt + len(deltas),
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


Sleep = Callable[[float], object]

_UNREADABLE = b'{"id":"chatcmpl-echo","choices":[{"index":0,"delta":{"content":"un'
_DONE = b"data: [DONE]\n\n"


class _StreamEnded(Exception):
    """The stream ends before its terminal event."""


def stream_reply(reply: EchoReply, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer event by event: one word each, then finish reason, usage and ``[DONE]``.

    Raises UnavailableError if the connection is to be cut.
    """
    head = _response_head(reply, "chat.completion.chunk")
    before, after = f'data: {head},"choices":[{{"index":0,"delta":', ',"finish_reason":null}]}\n\n'
    faults = _FaultInjection(options, len(reply.deltas), sleep)
    try:
        yield from faults.at(0)
        yield (before + dumps({"role": "assistant", "content": ""}) + after).encode()
        for number, delta in enumerate(reply.deltas, start=1):
            if options.delay:
                sleep(options.delay)
            yield (before + dumps(delta) + after).encode()
            yield from faults.at(number)
    except _StreamEnded:
        return
    yield f'{before}{{}},"finish_reason":"{reply.finish_reason}"}}]}}\n\n'.encode()
    if reply.usage is not None:
        yield f'data: {head},"choices":[],"usage":{dumps(reply.usage)}}}\n\n'.encode()
    yield _DONE


def document(reply: EchoReply, options: EchoOptions, sleep: Sleep) -> Iterator[bytes]:
    """Yield the answer as one JSON document, or the part before a fault."""
    choice = {"index": 0, "message": _join_message(reply.deltas), "finish_reason": reply.finish_reason}
    usage = f',"usage":{dumps(reply.usage)}' if reply.usage is not None else ""
    body = f'{_response_head(reply, "chat.completion")},"choices":[{dumps(choice)}]{usage}}}'.encode()
    sleep(options.stall + options.delay * len(reply.deltas))
    if options.cut == 0 or options.end == 0:
        body = b""
    elif options.cut is not None or options.end is not None:
        body = body[: len(body) // 2]
    elif options.garbage is not None:
        body = _UNREADABLE
    elif options.error is not None:
        body = (options.fail or find_error("502")).body()
    if body:
        yield body
    if options.cut is not None:
        raise _cut_error()


class _FaultInjection:
    """Faults by the number of words sent before them. Positions beyond the last word come after it."""

    def __init__(self, options: EchoOptions, words: int, sleep: Sleep) -> None:
        self._options = options
        self._sleep = sleep
        names = ("after", "cut", "end", "error", "garbage")
        places = {name: getattr(options, name) for name in names}
        self._places = {name: min(place, words) for name, place in places.items() if place is not None}

    def at(self, words_sent: int) -> Iterator[bytes]:
        """Yield the faulty bytes due after so many words; raise if the stream ends there."""
        here = [name for name, place in self._places.items() if place == words_sent]
        if not here:
            return
        if "after" in here and self._options.stall:
            self._sleep(self._options.stall)
        if "garbage" in here:
            yield b"data: " + _UNREADABLE + b"\n\n"
        if "cut" in here:
            raise _cut_error()
        if "error" in here:
            yield b"data: " + (self._options.fail or find_error("502")).body() + b"\n\n"
        if "error" in here or "end" in here:
            raise _StreamEnded


def _cut_error() -> UnavailableError:
    return UnavailableError("the connection was cut", reason="cut", hint="simulated by -o cut=N")


def _response_head(reply: EchoReply, kind: str) -> str:
    return f'{{"id":"{reply.id}","object":"{kind}","created":0,"model":{dumps(reply.model)}'


def _join_message(deltas: Any) -> dict[str, Any]:
    """Join the deltas into one message."""
    message: dict[str, Any] = {"role": "assistant", "content": _join_words(deltas, "content")}
    if thinking := _join_words(deltas, "reasoning_content"):
        message["reasoning_content"] = thinking
    calls: dict[int, Delta] = {}
    for piece in (delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta):
        if "id" in piece:
            call = {name: piece[name] for name in ("id", "type")}
            calls[piece["index"]] = call | {"function": dict(piece["function"])}
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    if calls:
        message["tool_calls"] = list(calls.values())
    return message


def _join_words(deltas: Any, name: str) -> str | None:
    words = [delta[name] for delta in deltas if name in delta]
    return "".join(words) if words else None
