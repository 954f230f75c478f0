"""The one file with genai-prices: published prices of models, as rows of ``model_prices``. Never on the way of a call
whose model was priced before (importing it takes 160 ms).

A model is found by its own name, a name that the list gives for it, or a dated snapshot of one of these. The list
itself matches more loosely, by beginnings: that would lend ``claude-3-opus`` its price to whatever is called
``claude-3-opus-next``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from genai_prices import types
from genai_prices.data import providers as _providers

from llmctl.core.stored_json import dumps
from llmctl.engine.billing.rates import COLUMNS

#: Our names of providers, where the list has others.
_NAMES = {"xai": "x-ai", "gemini": "google", "vertex": "google", "bedrock": "aws"}
_BY_ID = {provider.id: provider for provider in _providers}
#: Names of rates -> ours, with how many of our units one of the list's prices is for.
_RATES = {
    "input_mtok": ("input", 1.0),
    "output_mtok": ("output", 1.0),
    "cache_read_mtok": ("cached", 1.0),
    "cache_write_mtok": ("cache_write", 1.0),
    "cache_write_5m_mtok": ("cache_write", 1.0),
    "cache_write_1h_mtok": ("cache_write_1h", 1.0),
    "output_reasoning_mtok": ("thinking", 1.0),
    "input_audio_mtok": ("input_audio", 1.0),
    "output_audio_mtok": ("output_audio", 1.0),
    "cache_audio_read_mtok": ("cached_audio", 1.0),
    "input_image_mtok": ("input_image", 1.0),
    "output_image_mtok": ("output_image", 1.0),
    "cache_image_read_mtok": ("cached_image", 1.0),
    "requests_kcount": ("request", 1000.0),
    "web_searches_kcount": ("web_search", 1000.0),
    "audio_hours": ("audio_second", 3600.0),
}
#: What providers add to a model's name for one day's state of it.
_SNAPSHOT = re.compile(
    r"(-preview|-exp)?([-@](\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{3}|latest))?(-v\d+)?(:\d+)?"
)
#: Where a name that the list gives as a beginning breaks off.
_BROKEN_OFF = re.compile(r"([-@](20\d{2})?|-0)$")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as the list has it; ``names`` are all that it gives."""

    provider: str
    id: str
    name: str | None
    names: tuple[str, ...]
    context_window: int | None
    deprecated: bool
    rows: tuple[dict[str, Any], ...]


def find(provider: str, model: str) -> Listed | None:
    """Return the model of that provider; None where the list has no such, or only one that begins alike."""
    found = _find(provider, model)
    return _listed(provider, *found) if found else None


def listed(names: Iterable[str]) -> Iterator[Listed]:
    """Yield every model of the providers that the list knows, under our names of these."""
    for name in names:
        for provider in _of(name):
            yield from (_listed(name, provider, model) for model in provider.models)


def _find(name: str, model: str) -> tuple[types.Provider, types.ModelInfo] | None:
    if name == "huggingface":  # MODEL:HOST; without a host the router chooses one
        model, _, host = model.partition(":")
        name = f"huggingface_{host}"
    wanted = model.lower()
    own = [(provider, info) for provider in _of(name) for info in provider.models]
    lent = [
        (other, info)
        for provider in _of(name)
        for other in (_BY_ID[id] for id in provider.fallback_model_providers or () if id in _BY_ID)
        for info in other.models
    ]
    for models in (own, lent):
        for is_it in (_is_named, _is_snapshot):
            if found := next((pair for pair in models if is_it(pair[1], wanted)), None):
                return found
    return None


def _of(name: str) -> list[types.Provider]:
    found = _BY_ID.get(_NAMES.get(name, name))
    return [found] if found else []


def _is_named(model: types.ModelInfo, wanted: str) -> bool:
    return wanted == model.id.lower() or any(
        (isinstance(clause, types.ClauseEquals) and clause.equals.lower() == wanted)
        or (isinstance(clause, types.ClauseRegex) and _is_exact(clause.regex) and clause.is_match(wanted))
        for clause in _clauses(model.match)
    )


def _is_snapshot(model: types.ModelInfo, wanted: str) -> bool:
    if not model.is_match(wanted):
        return False
    beginnings = {model.id.lower(), *(_BROKEN_OFF.sub("", text) for text in _beginnings(model.match))}
    return any(wanted.startswith(name) and _SNAPSHOT.fullmatch(wanted[len(name) :]) for name in beginnings)


def _clauses(match: Any) -> Iterator[Any]:
    if isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from _clauses(clause)
    elif isinstance(match, types.ClauseAnd):
        yield from (clause for inner in match.and_ for clause in _clauses(inner) if _text_of(clause))
    else:
        yield match


def _beginnings(match: Any) -> Iterator[str]:
    yield from (text.lower() for clause in _clauses(match) if (text := _text_of(clause)))


def _text_of(clause: Any) -> str | None:
    names = ("starts_with", "contains", "ends_with")
    return next((getattr(clause, name) for name in names if hasattr(clause, name)), None)


def _is_exact(regex: str) -> bool:
    """Say whether an expression spells a whole name with nothing but digits left open."""
    return regex.startswith("^") and regex.endswith("$") and not set(regex) & set("*+?(|")


def _listed(name: str, provider: types.Provider, model: types.ModelInfo) -> Listed:
    equals = [clause.equals for clause in _clauses(model.match) if isinstance(clause, types.ClauseEquals)]
    return Listed(
        provider=name,
        id=model.id,
        name=model.name,
        names=tuple(dict.fromkeys([model.id, *equals])),
        context_window=model.context_window,
        deprecated=bool(model.deprecated),
        rows=tuple(_rows(provider, model)),
    )


def _rows(provider: types.Provider, model: types.ModelInfo) -> Iterator[dict[str, Any]]:
    """Yield a row for every day from which on the model cost something else, the oldest first."""
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    days = [p.constraint.start_date for p in prices if isinstance(p.constraint, types.StartDateConstraint)]
    for day in [None, *sorted(set(days))]:
        valid = [price for price in prices if _has_begun(price.constraint, day)]
        usual = [place for place, price in enumerate(valid) if not _has_hours(price.constraint)]
        if usual:
            yield _row(provider, model, day, valid[usual[-1]], valid[usual[-1] + 1 :])


def _row(
    provider: types.Provider, model: types.ModelInfo, day: Any, usual: types.ConditionalPrice, hours: Iterable[Any]
) -> dict[str, Any]:
    steps = _steps(usual.prices)
    specials = [_hours(price) for price in hours] + [_variant(variant) for variant in model.price_variants or ()]
    details = {
        "rates": {name: found[0][1] for name, found in steps.items() if name not in COLUMNS},
        "tiers": {name: found[1:] for name, found in steps.items() if len(found) > 1},
        "specials": [special for special in specials if special["rates"]],
        "context_window": model.context_window,
        "listed_as": f"{provider.id}/{model.id}",
    }
    return {
        **{f"{name}_per_million": steps[name][0][1] if name in steps else None for name in COLUMNS},
        "details": dumps({name: value for name, value in details.items() if value}),
        "valid_from": f"{day.isoformat()}T00:00:00.000+00:00" if day else None,
    }


def _steps(prices: types.ModelPrice) -> dict[str, list[list[float]]]:
    """Return the rates by our names, each as ``[[above so many tokens, dollars], ...]``."""
    found: dict[str, list[list[float]]] = {}
    for theirs, (ours, units) in _RATES.items():
        value = prices.__dict__.get(theirs)
        if isinstance(value, types.TieredPrices):
            tiers = [[tier.start, float(tier.price) / units] for tier in value.tiers]
            found[ours] = [[0, float(value.base) / units], *tiers]
        elif value is not None:
            found[ours] = [[0, float(value) / units]]
    return found


def _has_begun(constraint: Any, day: Any) -> bool:
    return not isinstance(constraint, types.StartDateConstraint) or (day is not None and constraint.start_date <= day)


def _has_hours(constraint: Any) -> bool:
    return isinstance(constraint, types.TimeOfDateConstraint)


def _hours(price: types.ConditionalPrice) -> dict[str, Any]:
    assert isinstance(price.constraint, types.TimeOfDateConstraint)
    hours = price.constraint
    begins, ends = hours.start_time.replace(tzinfo=None), hours.end_time.replace(tzinfo=None)
    return {"rates": _steps(price.prices), "begins": begins.isoformat(), "ends": ends.isoformat()}


def _variant(variant: types.PriceVariant) -> dict[str, Any]:
    since = variant.constraint
    day = since.start_date.isoformat() if isinstance(since, types.StartDateConstraint) else None
    return {"rates": _steps(variant.prices), "when": dict(variant.when), **({"since": day} if day else {})}
