"""Parse the responses of hosts: JSON objects, errors in a 200, counts and costs, vectors; shared by all wires."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core.chat import Unreadable, Usage
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.http import ServerEvent
from llmctl.core.redaction import mask_keys
from llmctl.core.registry import LazyFunction

if TYPE_CHECKING:
    from llmctl.core.single_requests import EmbedRequest, EmbedResponse

# Errors are rare: their module is imported for the first one.
classify_error: Callable[[Any], LlmctlError] = LazyFunction("llmctl.wire.errors:classify_error")
not_json_error: Callable[[int, bytes], LlmctlError] = LazyFunction("llmctl.wire.errors:not_json_error")

# Some hosts send unescaped line breaks inside strings.
_decode = json.JSONDecoder(strict=False).decode


def parse_object(data: str) -> dict[str, Any] | None:
    """Return the JSON object in an event; None for anything else."""
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else None


class EventObjects:
    """The JSON objects in the events of a stream, up to its ``[DONE]`` marker.

    What was meant as an object but cannot be decoded is yielded as :class:`Unreadable`: a piece of the answer is
    missing. Other data cannot hold a piece: proxies send keep-alives and notes as data.
    """

    def __init__(self, events: Iterable[ServerEvent], classify: Callable[[Any], LlmctlError] | None = None) -> None:
        self._events = events
        self._classify = classify or classify_error
        self._note = ""
        #: The ``event:`` field of the current object.
        self.name: str | None = None
        self.is_done = False

    def __iter__(self) -> Iterator[dict[str, Any] | Unreadable]:
        """Raise the error in an event that the host named ``error``."""
        for event in self._events:
            data, self.name = event.data, event.event
            if data[:6] == "[DONE]":
                self.is_done = True
                return
            chunk = parse_object(data)
            if self.name == "error":
                raise self._classify(data if chunk is None else chunk)
            if chunk is not None:
                yield chunk
            elif data.lstrip()[:1] == "{" or data.lstrip()[:2] == "[{":
                yield _unreadable(data)
            elif data.strip():
                self._note = self._note or data

    def explain_end(self) -> Iterator[Unreadable]:
        """Yield the first note, for a stream that ended without an answer: it may say why."""
        if self._note:
            yield _unreadable(self._note)


def _unreadable(data: str) -> Unreadable:
    return Unreadable(f'not a JSON object: "{format_excerpt(data)}"')


def filter_objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def format_excerpt(data: str) -> str:
    """Return the start of an unreadable event on one line, with keys masked."""
    return mask_keys(" ".join(data[:200].split()))[:120]


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a response; raise UnavailableError (``not_json``) for a page or a truncated body."""
    # OpenRouter sends lines of white space before the JSON while it waits.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise not_json_error(200, body) from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise not_json_error(200, body)
    return answer


def top_level_error(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error that a 200 response reports beside or in place of an answer; None if there is none."""
    if answer.get("error") or answer.get("object") == "error":
        return classify_error(answer)
    # MiniMax; the code is 0 in answers.
    return classify_error(answer) if get_object(answer, "base_resp").get("status_code") else None


#: Fields that hold the message of an error, in a response that has nothing of an answer.
_BARE_ERROR_FIELDS = ("message", "msg", "detail", "errors", "error_msg")


def bare_error(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error that a 200 response is, if it has no field of an answer; None if it is none either.

    Gateways report errors as ``{"code": …, "message": …}`` (DashScope, AWS) or ``{"detail": …}`` (FastAPI).
    """
    found = top_level_error(answer)
    has_message = any(isinstance(answer.get(name), str | list) and answer[name] for name in _BARE_ERROR_FIELDS)
    return found or (classify_error(answer) if has_message else None)


_FINISH_WORDS = {
    "stop": "stop eos eos_token end_turn stop_sequence stop_token end complete completed finished",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls",
    # model_length: Mistral's context window was full.
    "length": "length max_tokens max_output_tokens max_length model_length model_context_window_exceeded continuation",
    # sensitive: Z.ai
    "content_filter": "content_filter content_filtered sensitive safety refusal recitation blocklist spii"
    " prohibited_content model_armor escalation guardrail_intervened image_safety image_prohibited_content"
    " image_recitation",
    # pause_turn: the provider's tools took long. load: Ollama loaded the model and answered nothing.
    "incomplete": "incomplete pause_turn abort aborted cancel cancelled canceled interrupted timeout error load unload",
}
_FINISH_REASONS = {word: reason for reason, words in _FINISH_WORDS.items() for word in words.split()}


def parse_finish_reason(raw: object, default: str = "other") -> str:
    """Return our word for a host's finish reason, in any wire's spelling: gateways pass on what they got."""
    return _FINISH_REASONS.get(str(raw).lower(), default)


def get_object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


#: xAI counts in units of 1e-10 dollars.
_USD_PER_TICK = 1e-10
_UPPER_BOUND = 1e15


def parse_cost(data: Mapping[str, Any]) -> float | None:
    """Return the cost in US dollars; None if the host does not report one.

    A plain 0 is a price (free models). A 0 in a sum or in ticks means "not computed": Perplexity sends it in every
    chunk but the last, Azure for models it bills itself. With a key of one's own for the provider behind OpenRouter,
    its cost is only a fee: what that provider charges is added.
    """
    cost = data.get("cost")
    if isinstance(cost, dict):
        return parse_number(cost.get("total_cost")) or None
    if (plain := parse_number(cost)) is not None:
        upstream = parse_number(get_object(data, "cost_details").get("upstream_inference_cost"))
        return float(plain) + (upstream or 0.0 if data.get("is_byok") is True else 0.0)
    return (parse_number(data.get("cost_in_usd_ticks")) or 0) * _USD_PER_TICK or None


def parse_number(value: object) -> float | None:
    """Return a plausible number, also one in a string: not negative and not absurdly large; None otherwise."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _UPPER_BOUND
    return value if usable else None  # type: ignore[return-value]


def parse_count(data: Mapping[str, Any], name: str) -> int:
    return int(parse_number(data.get(name)) or 0)


def parse_service_tier(value: object) -> str | None:
    """Return the tier that a request was served in; ``auto`` only repeats that the provider decides."""
    return value.lower() if isinstance(value, str) and value not in ("", "auto") else None


def find_count(holders: Iterable[Mapping[str, Any]], names: Iterable[str]) -> int:
    """Return the first count other than 0 under any of the names."""
    wanted = tuple(names)
    return next((count for holder in holders for name in wanted if (count := parse_count(holder, name))), 0)


def merge_usage(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts so far with those of a later event: neither null nor 0 replaces a number."""
    merged = dict(known)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, dict):
            merged[name] = merge_usage(before if isinstance(before, dict) else {}, value)
        elif value is not None and (parse_number(value) != 0 or not parse_number(before)):
            merged[name] = value
    return merged


_INPUT_NAMES = ("prompt_tokens", "input_tokens")
_OUTPUT_NAMES = ("completion_tokens", "output_tokens")
_CACHED_NAMES = (
    *("cached_tokens", "cache_read_tokens", "cache_read_input_tokens"),
    *("num_cached_tokens", "prompt_cache_hit_tokens"),
)
_CACHE_WRITE_NAMES = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
#: Anthropic's cache fields: next to a plain ``input_tokens`` they are not part of it.
_SEPARATE_CACHE_NAMES = ("cache_read_input_tokens", "cache_creation_input_tokens")
_1H_HOLDERS = ("cache_creation", "cache_creation_token_details")
_1H_NAMES = ("ephemeral_1h_input_tokens", "claude_cache_creation_1_h_tokens")


def parse_usage(data: Mapping[str, Any], *, thinking_on_top: bool = False) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    Reads the names of Chat Completions, Responses and Anthropic: gateways translate answers, but not all of the usage.
    None if there are no counts. Parts never exceed the whole (Azure's Grok reports more cached tokens than input).
    """
    sent = get_object(data, "prompt_tokens_details") or get_object(data, "input_tokens_details")
    done = get_object(data, "completion_tokens_details") or get_object(data, "output_tokens_details")
    cost = parse_cost(data)
    input_tokens, output_tokens = find_count([data], _INPUT_NAMES), find_count([data], _OUTPUT_NAMES)
    if not (input_tokens or output_tokens or cost):
        return None  # zeros mean "not counted": no request has 0 tokens
    total = parse_count(data, "total_tokens")
    if output_tokens and all(data.get(name) is None for name in _INPUT_NAMES):
        input_tokens = max(0, total - output_tokens)
    if input_tokens and all(data.get(name) is None for name in _OUTPUT_NAMES):
        output_tokens = max(0, total - input_tokens)
    cached, written = find_count([sent, data], _CACHED_NAMES), find_count([sent, data], _CACHE_WRITE_NAMES)
    if _excludes_cached_tokens(data, sent) and total != input_tokens + output_tokens:
        input_tokens += cached + written
    thinking = find_count([done, data], ["reasoning_tokens", "thinking_tokens"])
    surplus = total - input_tokens - output_tokens
    if surplus > 0 and (thinking_on_top or surplus == thinking):
        output_tokens, thinking = output_tokens + surplus, max(thinking, surplus)
    elif surplus > 0 and surplus == parse_count(sent, "audio_tokens"):
        input_tokens += surplus  # Mistral does not count audio input in the prompt.
    elif not total and (thinking_on_top or thinking > output_tokens):
        output_tokens += thinking
    says_output = total or any(data.get(name) is not None for name in _OUTPUT_NAMES)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        unknown=find_unknown_side(input_tokens, output_tokens, says_output=bool(says_output)),
        cached_tokens=min(cached, input_tokens),
        cache_write_tokens=min(written, input_tokens),
        thinking_tokens=min(thinking, output_tokens),
        cost=cost,
        details=_parse_details(data, sent, done),
        service_tier=parse_service_tier(data.get("service_tier")),
    )


def find_unknown_side(input_tokens: int, output_tokens: int, *, says_output: bool) -> str | None:
    """Return which side was not counted: every request has input, and no output is one that is said to be 0."""
    if output_tokens and not input_tokens:
        return "input"
    return "output" if input_tokens and not output_tokens and not says_output else None


def _excludes_cached_tokens(data: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Return whether the input is counted as at Anthropic: without what was read from or written to the cache."""
    return not sent and "prompt_tokens" not in data and any(name in data for name in _SEPARATE_CACHE_NAMES)


def _parse_details(data: Mapping[str, Any], sent: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, float]:
    """Return the counts with a price of their own."""
    cached = get_object(sent, "cached_tokens_details")
    stored = [data, sent, *(get_object(holder, name) for holder in (data, sent) for name in _1H_HOLDERS)]
    found = {
        "input_audio_tokens": parse_count(sent, "audio_tokens"),
        "input_image_tokens": parse_count(sent, "image_tokens"),
        "cached_audio_tokens": parse_count(cached, "audio_tokens"),
        "cached_image_tokens": parse_count(cached, "image_tokens"),
        "output_audio_tokens": parse_count(done, "audio_tokens"),
        "output_image_tokens": parse_count(done, "image_tokens"),
        "cache_write_1h_tokens": find_count(stored, _1H_NAMES),
    }
    return {name: float(count) for name, count in found.items() if count}


Vector = tuple[float, ...]


def parse_vector(value: Any) -> Vector:
    """Return a list of numbers as a vector; an empty vector for anything else."""
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        return ()
    return tuple(map(float, value))


def build_embed_response(
    vectors: Iterable[Vector], request: EmbedRequest, usage: Usage | None, model: Any
) -> EmbedResponse:
    """Return the response; raise UnavailableError if the number of vectors differs from that of the texts."""
    from llmctl.core.single_requests import EmbedResponse  # not needed by chats

    found = tuple(filter(None, vectors))
    if len(found) != len(request.texts):
        raise UnavailableError(
            f"the response has {len(found)} vectors for {len(request.texts)} texts",
            reason="no_answer",
            status_code=200,
        )
    return EmbedResponse(found, usage, model if isinstance(model, str) and model else None)
