"""Calculate the cost of a usage from a price, and the most that a request can use. Pure: no database, no clock.

A rate is the cost of one unit (a token, a request, an image) in US dollars. Unknown is None, never 0; nothing is
negative.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any, TypeGuard

from llmctl.core.chat import ChatResponse, File, Usage
from llmctl.core.stored_values import loads
from llmctl.core.values import Value
from llmctl.store.records.types import PriceRow

#: A rate by size of the whole input: ``(above so many tokens, rate)``, ascending. The highest tier reached applies to
#: every token.
RateTiers = tuple[tuple[int, float], ...]
Rates = Mapping[str, RateTiers]
#: Request options that select another rate: ``service_tier``, ``speed``, ``processing``.
PriceContext = Mapping[str, Any]

#: Key of a context: how the provider processes a request, if not at once.
PROCESSING = "processing"
MILLION = 1_000_000
#: Rates with a column in ``model_prices``, per million tokens.
RATE_COLUMNS = ("input", "output", "cached", "cache_write", "thinking")
#: Token rates and their fallback: without a published discount there is none.
_FALLBACK_RATES = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "input_image": "input",
    "cached_audio": "cached",
    "cached_image": "cached",
    "thinking": "output",
    "output_audio": "output",
    "output_image": "output",
}
_TOKEN_RATES = ("input", "output", *_FALLBACK_RATES)
_INPUT_RATES = ("input", "cache_write", "cache_write_1h")
_FILE_RATES = ("input_audio", "input_image")
_OUTPUT_RATES = ("output", "thinking", "output_audio", "output_image")
#: Units other than tokens: key of ``Usage.details`` -> name of the rate.
_OTHER_UNITS = {"web_searches": "web_search", "images": "image", "audio_seconds": "audio_second"}
#: Units that some models bill by the piece, others as tokens that are counted as well.
_ALSO_COUNTED_AS_TOKENS = ("image", "audio_second")
_NO_CONTEXT: PriceContext = {}


class RateOverride(Value):
    """Rates that replace the usual ones: if the request has the options ``when``, or at hours of the day (UTC)."""

    rates: Rates
    when: Mapping[str, Any] = {}
    since: str | None = None
    begins: str | None = None
    ends: str | None = None

    def applies(self, context: PriceContext, moment: datetime) -> bool:
        """Whether a request with these options, started at that moment, is billed at these rates."""
        if self.since is not None and moment.date().isoformat() < self.since:
            return False
        if self.begins is not None and self.ends is not None:
            return _is_between(moment.time(), time.fromisoformat(self.begins), time.fromisoformat(self.ends))
        return all(context.get(name) == value for name, value in self.when.items())


class Price(Value):
    """The price of a model from a date on; ``id`` is its row of ``model_prices``, if it is stored."""

    id: str | None
    rates: Rates
    overrides: tuple[RateOverride, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None

    def rates_at(self, context: PriceContext, moment: datetime) -> Rates:
        """Return the rates for a request started at that (UTC) moment.

        What is processed in another way than at once has rates of its own: none, where none are published.
        """
        is_special = bool(context.get(PROCESSING))
        rates = {} if is_special else dict(self.rates)
        for override in self.overrides:
            if is_special and PROCESSING not in override.when:
                continue
            if override.applies(context, moment):
                rates |= override.rates
        return rates


def price_from_row(row: PriceRow) -> Price:
    """Return the price in a row of ``model_prices``."""
    details = loads(row.details, {})
    tiers = details.get("tiers") or {}
    base = {name: getattr(row, f"{name}_per_million") for name in RATE_COLUMNS} | (details.get("rates") or {})
    return Price(
        id=row.id or None,
        rates={
            name: _parse_tiers(name, value, tiers.get(name, ())) for name, value in base.items() if value is not None
        },
        overrides=tuple(_parse_override(special) for special in details.get("specials") or ()),
        context_window=details.get("context_window"),
        max_output_tokens=details.get("max_output_tokens"),
    )


def calculate_usage_cost(
    usage: Usage, price: Price, *, moment: datetime, context: PriceContext = _NO_CONTEXT
) -> float | None:
    """Return the cost in US dollars, or None if nothing was counted or a rate is unknown.

    Cached and cache-written tokens are part of the input, thinking is part of the output. If a provider reports parts
    that exceed the whole, the rest is 0, never negative.
    """
    counts = {name: count for name, count in _count_billed_units(usage).items() if count > 0}
    if not counts:
        return None
    rates = price.rates_at(context, moment)
    total = 0.0
    for name, count in counts.items():
        rate = _find_rate(rates, name, usage.input_tokens)
        if rate is None and not (name in _ALSO_COUNTED_AS_TOKENS and usage.total_tokens):
            return None
        total += (rate or 0.0) * count
    if (each := _find_rate(rates, "request", usage.input_tokens)) is not None:
        total += each
    return round(total, 12)


def max_cost(
    price: Price,
    input_tokens: int,
    output_tokens: int,
    *,
    with_files: bool = False,
    context: PriceContext = _NO_CONTEXT,
    moment: datetime,
) -> float | None:
    """Return the most that these tokens can cost, whatever kind they are; None if unknown."""
    by_hours = [
        override.rates for override in price.overrides if override.begins is not None
    ]  # it may end at another hour
    possible = [price.rates, price.rates_at(context, moment), *by_hours]
    if context.get(PROCESSING):
        possible = [price.rates_at(context, moment)]
    sent = (*_INPUT_RATES, *(_FILE_RATES if with_files else ()))
    highest_in = _find_highest_rate(possible, sent, input_tokens)
    highest_out = _find_highest_rate(possible, _OUTPUT_RATES, input_tokens)
    if highest_in is None or (highest_out is None and output_tokens):
        return None
    each = _find_highest_rate(possible, ("request",), input_tokens) or 0.0
    return highest_in * input_tokens + (highest_out or 0.0) * output_tokens + each


def _count_billed_units(usage: Usage) -> dict[str, float]:
    """Return the units billed at each rate; parts with their own rate are subtracted from the whole."""
    part = {name: max(0.0, usage.details.get(f"{name}_tokens", 0)) for name in _TOKEN_RATES}
    cached_files = part["cached_audio"] + part["cached_image"]
    audio, image = part["input_audio"] - part["cached_audio"], part["input_image"] - part["cached_image"]
    written = max(usage.cache_write_tokens, part["cache_write_1h"])
    of_input = usage.cached_tokens + written + max(0.0, audio) + max(0.0, image)
    of_output = part["output_audio"] + part["output_image"]
    thinking = min(usage.thinking_tokens, max(0.0, usage.output_tokens - of_output))
    return {
        "input": usage.input_tokens - of_input,
        "cached": usage.cached_tokens - cached_files,
        "cached_audio": part["cached_audio"],
        "cached_image": part["cached_image"],
        "cache_write": written - part["cache_write_1h"],
        "cache_write_1h": part["cache_write_1h"],
        "input_audio": audio,
        "input_image": image,
        "output": usage.output_tokens - thinking - of_output,
        "thinking": thinking,
        "output_audio": part["output_audio"],
        "output_image": part["output_image"],
        **{rate: usage.details.get(unit, 0) for unit, rate in _OTHER_UNITS.items()},
    }


def _find_rate(rates: Rates, name: str, input_tokens: int) -> float | None:
    """Return the rate of a unit, or that of its fallback."""
    while name not in rates:
        if name not in _FALLBACK_RATES:
            return None
        name = _FALLBACK_RATES[name]
    reached = [rate for above, rate in rates[name] if input_tokens > above or above == 0]
    return reached[-1]


def _find_highest_rate(possible: Iterable[Rates], names: Iterable[str], input_tokens: int) -> float | None:
    matching = [
        rate
        for rates in possible
        for name in names
        for above, rate in rates.get(name, ())
        if above == 0 or input_tokens > above
    ]
    return max(matching, default=None)


def _parse_tiers(name: str, base: float, tiers: Iterable[Iterable[float]]) -> RateTiers:
    scale = MILLION if name in _TOKEN_RATES else 1
    return ((0, base / scale), *((int(above), rate / scale) for above, rate in tiers))


def _parse_override(data: Mapping[str, Any]) -> RateOverride:
    rates = {name: _parse_tiers(name, steps[0][1], steps[1:]) for name, steps in data["rates"].items()}
    return RateOverride(rates, data.get("when") or {}, data.get("since"), data.get("begins"), data.get("ends"))


def _is_between(moment: time, begins: time, ends: time) -> bool:
    if ends < begins:
        return moment >= begins or moment < ends
    return begins <= moment < ends


# --- upper bounds: never less than what is billed

# Checked against recorded traffic: only what a provider adds on its own (searches, stored conversations, other models)
# exceeded them. find_unbounded_option finds the options that cause this.


#: No tokenizer makes more tokens of a text than it has bytes. Providers add their own text: chat template, tool prompt,
#: system prompt (a few hundred tokens at most were seen).
_PROVIDER_OVERHEAD_TOKENS = 1_000
#: The most expensive image (gpt-4o-mini counts 2,833 and 5,667 for each of 8 tiles).
_IMAGE_TOKENS = 50_000
#: A PDF page is sent as text and as an image; except for small files it has more bytes than tokens.
_DOCUMENT_TOKENS = 50_000
#: A file that the provider fetches itself: its size is unknown here.
_LINKED_FILE_TOKENS = 200_000
#: If neither the request nor the price list limits the answer: the longest of today's models.
MAX_OUTPUT_TOKENS = 128_000

#: Names of the output limit, and of the number of answers, in the wires.
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")
_ANSWER_COUNT_FIELDS = ("n", "candidateCount", "best_of")
#: Objects in a body that may contain them, besides the body itself.
_NESTED_OBJECTS = ("generationConfig", "options")

#: Options that make a provider add tokens of its own, or let another model answer.
_UNBOUNDED_OPTIONS = (
    *("tools", "plugins", "web_search_options", "search_parameters", "mcp_servers", "container", "background"),
    *("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content", "models", "route"),
)


def find_unbounded_option(options: Mapping[str, Any]) -> str | None:
    """Return the option that makes the tokens of a request unpredictable, or None."""
    return next((name for name in _UNBOUNDED_OPTIONS if options.get(name)), None)


def max_input_tokens(body: bytes, files: Iterable[File], window: int | None) -> int:
    """Return the most input tokens of a request; ``body`` is what is sent, without the content of files.

    ``window`` is the model's context window: larger requests are refused and not billed.
    """
    tokens = len(body) + _PROVIDER_OVERHEAD_TOKENS + sum(map(_max_file_tokens, files))
    return tokens if window is None else min(tokens, window)


def max_output_tokens(body: bytes, window: int | None, model_limit: int | None) -> int:
    """Return the most output tokens of a request: the limit in the request, else that of the model."""
    fields = _read_fields(body)
    limits = [value for name in _LIMIT_FIELDS if _is_count(value := fields.get(name))]
    default_limit = model_limit or min(window or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS)
    answers = max([1, *(value for name in _ANSWER_COUNT_FIELDS if _is_count(value := fields.get(name)))])
    return (min(limits) if limits else default_limit) * answers


def max_response_tokens(response: ChatResponse) -> int:
    """Return the most tokens that the text, thinking and tool calls of a response have.

    A token is a byte at least; of ASCII, whose words, runs of spaces and groups of digits are tokens, two on average
    even where it is random.
    """
    message = response.message
    calls = (call.name + call.arguments for call in message.tool_calls)
    text = "".join((message.text, message.thinking, *calls))
    size = len(text.encode("utf-8", "replace"))
    other = size - len(text.encode("ascii", "ignore"))
    return other + (size - other + 1) // 2


def _max_file_tokens(file: File) -> int:
    if file.data is None:
        return _IMAGE_TOKENS if file.media_type.startswith("image/") else _LINKED_FILE_TOKENS
    if file.media_type.startswith("image/"):
        return _IMAGE_TOKENS
    if file.media_type == "application/pdf":
        return max(_DOCUMENT_TOKENS, 2 * len(file.data))
    return len(file.data)


def _read_fields(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    objects = [nested for name in _NESTED_OBJECTS if isinstance(nested := document.get(name), Mapping)]
    return {name: value for nested in [*objects, document] for name, value in nested.items()}


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
