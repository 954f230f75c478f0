"""The options of the echo provider, parsed from a request body."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.providers.echo.errors import EchoError, find_error

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


@dataclass(frozen=True, slots=True)
class EchoOptions:
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
