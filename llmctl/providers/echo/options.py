"""The options that steer the echo provider, and their reading from a request body."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.providers.echo.errors import Failure, failure

_MODEL_OPTIONS = """
    audio chat_template_kwargs dimensions enable_thinking encoding_format frequency_penalty images include_reasoning
    input keep_alive logit_bias logprobs output_format prompt quality size
    max_completion_tokens max_tokens messages metadata min_p modalities model n num_ctx parallel_tool_calls
    prediction presence_penalty prompt_cache_key reasoning reasoning_effort repeat_penalty repetition_penalty
    response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice
    tools top_k top_logprobs top_p typical_p user verbosity web_search_options
"""

#: Options that models take. Accepted; only the two limits have an effect here.
MODEL_OPTIONS = frozenset(_MODEL_OPTIONS.split())

#: Options that a retry finds gone, when ``fail_times`` says so.
TROUBLE = frozenset(("fail", "cut", "end", "error", "garbage", "html", "empty", "stall"))


class BadOption(Exception):
    """An option that does not exist, or a value it cannot have."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How the answer shall be. None means that nobody said."""

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
    fail: Failure | None = None
    fail_times: int | None = None
    retry_after: float | None = None
    cut: int | None = None
    end: int | None = None
    error: int | None = None
    garbage: int | None = None
    html: bool = False
    empty: bool = False
    #: The user's own limit: the lesser of max_tokens and max_completion_tokens.
    max_words: int | None = None


def read(body: Mapping[str, Any], attempt: int) -> EchoOptions:
    """Return the options among the fields of a request body, as they hold for this attempt.

    Raises BadOption for a field that is neither an option here nor one of models, and for unfit values.
    """
    for name in body:
        if name not in OPTIONS and name not in MODEL_OPTIONS:
            raise BadOption(name, f'no option "{name}"; there are {", ".join(OPTIONS)}')
    given = {name: _parsed(name, parse, body) for name, (parse, _) in OPTIONS.items() if name in body}
    given = {name: value for name, value in given.items() if value is not None}
    limits = [_parsed(name, _count, body) for name in ("max_tokens", "max_completion_tokens") if name in body]
    limit = min((limit for limit in limits if limit is not None), default=None)
    return EchoOptions(**_as_of(attempt, given), max_words=limit)


def help_lines() -> list[str]:
    """Return one aligned line for each option."""
    return [f"  {name:<12} {text}" for name, (_, text) in OPTIONS.items()]


def _as_of(attempt: int, given: dict[str, Any]) -> dict[str, Any]:
    times = given.get("fail_times")
    if times is None:
        return given
    if attempt > times:
        return {name: value for name, value in given.items() if name not in TROUBLE}
    return given if TROUBLE & given.keys() else given | {"fail": failure("503")}


def _parsed(name: str, parse: Callable[[Any], Any], body: Mapping[str, Any]) -> Any:
    value = body[name]
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        raise BadOption(name, f'"{name}" takes {error}, not "{value}"') from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _seconds(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("a number of seconds")
    return number


def _count(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("a whole number")
    return int(text)


def _flag(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if (word := str(value).lower()) not in words:
        raise ValueError("true or false")
    return words[word]


#: Each option with what reads it and what it does, in the order of the help.
OPTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "reply": (_text, "TEXT: what to say, instead of repeating the last message"),
    "replies": (_text, "TEXT: what to say, a line for each answer; when they are used up the last one again"),
    "thinking": (_text, "TEXT: what to think first"),
    "repeat": (_count, "N: say it N times over"),
    "tool": (_text, "'NAME {JSON}': call that tool, one call a line, an empty line before the next step; then answer"),
    "delay": (_seconds, "SECONDS: wait before each word"),
    "stall": (_seconds, "SECONDS: wait once, after as many words as `after` says"),
    "after": (_count, "N: words before the stall; 0 if not given, before the first byte"),
    "length": (_count, "N: stop by length after N words, though nobody set a limit"),
    "usage": (_flag, "false: say nothing about tokens"),
    "fail": (lambda value: failure(str(value)), "STATUS or KIND: refuse with that HTTP status, or as a kind below"),
    "fail_times": (_count, "N: trouble only in the first N attempts; without other trouble it is fail=503"),
    "retry_after": (_seconds, "SECONDS: the refusal asks to wait so long"),
    "cut": (_count, "N: the connection drops after N words"),
    "end": (_count, "N: the stream ends after N words, without its terminal event"),
    "error": (_count, "N: an error event ends the stream after N words; `fail` says which error"),
    "garbage": (_count, "N: an event that nobody can read comes after N words"),
    "html": (_flag, "true: a web page comes with status 200"),
    "empty": (_flag, "true: nothing comes with status 200"),
}
