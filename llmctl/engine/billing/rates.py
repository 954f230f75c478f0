"""What a use of a model costs at a price. Pure: no database, no clock.

A rate is what one unit costs in US dollars: a token, a request, a picture. Unknown is None, never 0; nothing here is
negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any, NamedTuple

from llmctl.core.events import Usage
from llmctl.core.stored_json import loads

#: A rate by the size of the whole input: ``(above so many tokens, rate)``, ascending. The highest step that is
#: passed counts for every token.
Steps = tuple[tuple[int, float], ...]
Rates = Mapping[str, Steps]
#: What of a request picks another rate: ``service_tier``, ``speed``, ``processing``.
Context = Mapping[str, Any]

MILLION = 1_000_000
#: Rates that are kept as columns of ``model_prices``, for a million tokens.
COLUMNS = ("input", "output", "cached", "cache_write", "thinking")
#: Rates of tokens, and where a rate that is not named is looked for: a discount that nobody published is none.
_INSTEAD = {
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
_TOKENS = ("input", "output", *_INSTEAD)
_OF_INPUT = ("input", "cache_write", "cache_write_1h")
_OF_FILES = ("input_audio", "input_image")
_OF_OUTPUT = ("output", "thinking", "output_audio", "output_image")
#: Units that are counted beside tokens: key of ``Usage.details`` -> name of the rate.
_BESIDE = {"web_searches": "web_search", "images": "image", "audio_seconds": "audio_second"}
#: Units that some models bill by the piece, and others in tokens that are counted as well.
_IN_TOKENS_TOO = ("image", "audio_second")
_NOTHING: Context = {}


class Special(NamedTuple):
    """Rates that take the place of the usual ones: ``when`` the request says so, or at hours of the (UTC) day."""

    rates: Rates
    when: Mapping[str, Any] = {}
    since: str | None = None
    begins: str | None = None
    ends: str | None = None

    def applies(self, context: Context, moment: datetime) -> bool:
        """Say whether a request of that context, begun at that moment, is billed at these rates."""
        if self.since is not None and moment.date().isoformat() < self.since:
            return False
        if self.begins is not None and self.ends is not None:
            return _is_between(moment.time(), time.fromisoformat(self.begins), time.fromisoformat(self.ends))
        return all(context.get(name) == value for name, value in self.when.items())


class Price(NamedTuple):
    """What a model costs from a date on: a row of ``model_prices``."""

    id: str | None
    rates: Rates
    specials: tuple[Special, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None

    def at(self, context: Context, moment: datetime) -> Rates:
        """Return the rates of a request begun at that (UTC) moment."""
        rates = dict(self.rates)
        for special in self.specials:
            if special.applies(context, moment):
                rates |= special.rates
        return rates


def price_of(row: Mapping[str, Any]) -> Price:
    """Read a row of ``model_prices``."""
    details = loads(row["details"], {}) if isinstance(row["details"], str) else row["details"]
    tiers = details.get("tiers") or {}
    base = {name: row[f"{name}_per_million"] for name in COLUMNS} | (details.get("rates") or {})
    return Price(
        id=row["id"],
        rates={name: _steps(name, value, tiers.get(name, ())) for name, value in base.items() if value is not None},
        specials=tuple(_special(special) for special in details.get("specials") or ()),
        context_window=details.get("context_window"),
        max_output_tokens=details.get("max_output_tokens"),
    )


def cost_of(usage: Usage, price: Price, *, moment: datetime, context: Context = _NOTHING) -> float | None:
    """Return US dollars, or None where nothing was counted or a rate is not known.

    Cached and written tokens are part of the input, thinking is part of the output; a provider that counts more
    parts than there is of the whole makes the whole smaller, never negative.
    """
    counts = {name: count for name, count in _counts(usage).items() if count > 0}
    if not counts:
        return None
    rates = price.at(context, moment)
    total = 0.0
    for name, count in counts.items():
        rate = _rate(rates, name, usage.input_tokens)
        if rate is None and not (name in _IN_TOKENS_TOO and usage.total_tokens):
            return None
        total += (rate or 0.0) * count
    if (each := _rate(rates, "request", usage.input_tokens)) is not None:
        total += each
    return round(total, 12)


def most(
    price: Price,
    input_tokens: int,
    output_tokens: int,
    *,
    with_files: bool = False,
    context: Context = _NOTHING,
    moment: datetime,
) -> float | None:
    """Return what so many tokens cost at most, whatever of them is cached, written, thought; None where unknown."""
    by_hours = [special.rates for special in price.specials if special.begins is not None]  # it may end in another
    possible = [price.rates, price.at(context, moment), *by_hours]
    sent = (*_OF_INPUT, *(_OF_FILES if with_files else ()))
    highest_in = _highest(possible, sent, input_tokens)
    highest_out = _highest(possible, _OF_OUTPUT, input_tokens)
    if highest_in is None or (highest_out is None and output_tokens):
        return None
    each = _highest(possible, ("request",), input_tokens) or 0.0
    return highest_in * input_tokens + (highest_out or 0.0) * output_tokens + each


def _counts(usage: Usage) -> dict[str, float]:
    """Return how much is billed at which rate; what has a rate of its own is taken out of what it is part of."""
    part = {name: max(0.0, usage.details.get(f"{name}_tokens", 0)) for name in _TOKENS}
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
        **{rate: usage.details.get(unit, 0) for unit, rate in _BESIDE.items()},
    }


def _rate(rates: Rates, name: str, input_tokens: int) -> float | None:
    """Return the rate of one unit, or that of what it is a part of."""
    while name not in rates:
        if name not in _INSTEAD:
            return None
        name = _INSTEAD[name]
    reached = [rate for above, rate in rates[name] if input_tokens > above or above == 0]
    return reached[-1]


def _highest(possible: Iterable[Rates], names: Iterable[str], input_tokens: int) -> float | None:
    found = [
        rate
        for rates in possible
        for name in names
        for above, rate in rates.get(name, ())
        if above == 0 or input_tokens > above
    ]
    return max(found, default=None)


def _steps(name: str, base: float, tiers: Iterable[Iterable[float]]) -> Steps:
    scale = MILLION if name in _TOKENS else 1
    return ((0, base / scale), *((int(above), rate / scale) for above, rate in tiers))


def _special(data: Mapping[str, Any]) -> Special:
    rates = {name: _steps(name, steps[0][1], steps[1:]) for name, steps in data["rates"].items()}
    return Special(rates, data.get("when") or {}, data.get("since"), data.get("begins"), data.get("ends"))


def _is_between(moment: time, begins: time, ends: time) -> bool:
    if ends < begins:
        return moment >= begins or moment < ends
    return begins <= moment < ends
