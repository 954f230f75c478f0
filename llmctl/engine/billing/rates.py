"""Calculate the cost of a usage from a price. Pure: no database, no clock.

A rate is the cost of one unit (a token, a request, an image) in US dollars. Unknown is None, never 0; nothing is
negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any, NamedTuple

from llmctl.core.events import Usage
from llmctl.core.stored_json import loads

#: A rate by size of the whole input: ``(above so many tokens, rate)``, ascending. The highest tier reached applies to
#: every token.
RateTiers = tuple[tuple[int, float], ...]
Rates = Mapping[str, RateTiers]
#: Request options that select another rate: ``service_tier``, ``speed``, ``processing``.
PriceContext = Mapping[str, Any]

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


class RateOverride(NamedTuple):
    """Rates that replace the usual ones: if the request has the options ``when``, or at hours of the day (UTC)."""

    rates: Rates
    when: Mapping[str, Any] = {}
    since: str | None = None
    begins: str | None = None
    ends: str | None = None

    def applies(self, context: PriceContext, moment: datetime) -> bool:
        """Whether a request with these options, begun at that moment, is billed at these rates."""
        if self.since is not None and moment.date().isoformat() < self.since:
            return False
        if self.begins is not None and self.ends is not None:
            return _is_between(moment.time(), time.fromisoformat(self.begins), time.fromisoformat(self.ends))
        return all(context.get(name) == value for name, value in self.when.items())


class Price(NamedTuple):
    """The price of a model from a date on: a row of ``model_prices``."""

    id: str | None
    rates: Rates
    overrides: tuple[RateOverride, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None

    def rates_at(self, context: PriceContext, moment: datetime) -> Rates:
        """Return the rates for a request begun at that (UTC) moment."""
        rates = dict(self.rates)
        for override in self.overrides:
            if override.applies(context, moment):
                rates |= override.rates
        return rates


def price_from_row(row: Mapping[str, Any]) -> Price:
    """Return the price in a row of ``model_prices``."""
    details = loads(row["details"], {}) if isinstance(row["details"], str) else row["details"]
    tiers = details.get("tiers") or {}
    base = {name: row[f"{name}_per_million"] for name in RATE_COLUMNS} | (details.get("rates") or {})
    return Price(
        id=row["id"],
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
