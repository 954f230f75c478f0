"""Published prices from genai-prices, as rows of ``model_prices``. The only file that imports it (160 ms): not used for
models that were priced before.

A model is found by its id, an alias in the list, or a dated snapshot of one of these. The list itself matches more
loosely, by prefix: ``claude-3-opus-next`` would get the price of ``claude-3-opus``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from genai_prices import types
from genai_prices.data import providers as _providers

from llmctl.core.stored_values import dumps
from llmctl.engine.models.rates import RATE_COLUMNS

#: Our provider names where the list has other ones.
_PROVIDER_NAMES = {"xai": "x-ai", "gemini": "google", "vertex": "google", "bedrock": "aws"}
_BY_ID = {provider.id: provider for provider in _providers}
#: Rate names of the list -> our name, and our units per price in the list.
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
#: Suffixes of dated snapshots of a model.
_SNAPSHOT = re.compile(
    r"(-preview|-exp)?([-@](\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{3}|latest))?(-v\d+)?(:\d+)?"
)
#: The end of a prefix in the list that was cut within a date.
_TRUNCATED_PREFIX = re.compile(r"([-@](20\d{2})?|-0)$")


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model in the price list; ``names`` are its id and aliases."""

    provider: str
    id: str
    name: str | None
    names: tuple[str, ...]
    context_window: int | None
    deprecated: bool
    rows: tuple[dict[str, Any], ...]


def find_model(provider: str, model: str) -> PricedModel | None:
    """Return the model of a provider, or None. A model with merely the same prefix does not count."""
    entry = _find_entry(provider, model)
    return _to_priced_model(provider, *entry) if entry else None


def list_models(names: Iterable[str]) -> Iterator[PricedModel]:
    """Yield every model of these providers (our names)."""
    for name in names:
        for provider in _find_providers(name):
            yield from (_to_priced_model(name, provider, model) for model in provider.models)


def _find_entry(name: str, model: str) -> tuple[types.Provider, types.ModelInfo] | None:
    if name == "huggingface":  # MODEL:HOST; without a host the router picks one
        model, _, host = model.partition(":")
        name = f"huggingface_{host}"
    wanted = model.lower()
    own = [(provider, info) for provider in _find_providers(name) for info in provider.models]
    fallback = [
        (other, info)
        for provider in _find_providers(name)
        for other in (_BY_ID[id] for id in provider.fallback_model_providers or () if id in _BY_ID)
        for info in other.models
    ]
    for models in (own, fallback):
        for is_it in (_is_named, _is_snapshot):
            if found := next((pair for pair in models if is_it(pair[1], wanted)), None):
                return found
    return None


def _find_providers(name: str) -> list[types.Provider]:
    provider = _BY_ID.get(_PROVIDER_NAMES.get(name, name))
    return [provider] if provider else []


def _is_named(model: types.ModelInfo, name: str) -> bool:
    return name == model.id.lower() or any(
        (isinstance(clause, types.ClauseEquals) and clause.equals.lower() == name)
        or (isinstance(clause, types.ClauseRegex) and _is_exact_regex(clause.regex) and clause.is_match(name))
        for clause in _flatten_clauses(model.match)
    )


def _is_snapshot(model: types.ModelInfo, wanted: str) -> bool:
    if not model.is_match(wanted):
        return False
    beginnings = {model.id.lower(), *(_TRUNCATED_PREFIX.sub("", text) for text in _list_prefixes(model.match))}
    return any(wanted.startswith(name) and _SNAPSHOT.fullmatch(wanted[len(name) :]) for name in beginnings)


def _flatten_clauses(match: Any) -> Iterator[Any]:
    if isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from _flatten_clauses(clause)
    elif isinstance(match, types.ClauseAnd):
        yield from (clause for inner in match.and_ for clause in _flatten_clauses(inner) if _clause_text(clause))
    else:
        yield match


def _list_prefixes(match: Any) -> Iterator[str]:
    yield from (text.lower() for clause in _flatten_clauses(match) if (text := _clause_text(clause)))


def _clause_text(clause: Any) -> str | None:
    names = ("starts_with", "contains", "ends_with")
    return next((getattr(clause, name) for name in names if hasattr(clause, name)), None)


def _is_exact_regex(regex: str) -> bool:
    """Whether a regular expression spells out a whole name, except for digits."""
    return regex.startswith("^") and regex.endswith("$") and not set(regex) & set("*+?(|")


def _to_priced_model(name: str, provider: types.Provider, model: types.ModelInfo) -> PricedModel:
    equals = [clause.equals for clause in _flatten_clauses(model.match) if isinstance(clause, types.ClauseEquals)]
    return PricedModel(
        provider=name,
        id=model.id,
        name=model.name,
        names=tuple(dict.fromkeys([model.id, *equals])),
        context_window=model.context_window,
        deprecated=bool(model.deprecated),
        rows=tuple(_build_rows(provider, model)),
    )


def _build_rows(provider: types.Provider, model: types.ModelInfo) -> Iterator[dict[str, Any]]:
    """Yield a row for every day on which the price of the model changed, oldest first."""
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    days = [p.constraint.start_date for p in prices if isinstance(p.constraint, types.StartDateConstraint)]
    for day in [None, *sorted(set(days))]:
        valid = [price for price in prices if _is_valid_on(price.constraint, day)]
        usual = [index for index, price in enumerate(valid) if not _is_time_of_day(price.constraint)]
        if usual:
            yield _build_row(provider, model, day, valid[usual[-1]], valid[usual[-1] + 1 :])


def _build_row(
    provider: types.Provider, model: types.ModelInfo, day: Any, usual: types.ConditionalPrice, hours: Iterable[Any]
) -> dict[str, Any]:
    rates = _read_rates(usual.prices)
    specials = [_time_of_day_override(price) for price in hours] + [
        _variant_override(variant) for variant in model.price_variants or ()
    ]
    details = {
        "rates": {name: tiers[0][1] for name, tiers in rates.items() if name not in RATE_COLUMNS},
        "tiers": {name: tiers[1:] for name, tiers in rates.items() if len(tiers) > 1},
        "specials": [special for special in specials if special["rates"]],
        "context_window": model.context_window,
        "listed_as": f"{provider.id}/{model.id}",
    }
    return {
        **{f"{name}_per_million": rates[name][0][1] if name in rates else None for name in RATE_COLUMNS},
        "details": dumps({name: value for name, value in details.items() if value}),
        "valid_from": f"{day.isoformat()}T00:00:00.000+00:00" if day else None,
    }


def _read_rates(prices: types.ModelPrice) -> dict[str, list[list[float]]]:
    """Return the rates by our names, each as ``[[above so many tokens, US dollars], ...]``."""
    rates: dict[str, list[list[float]]] = {}
    for attribute, (rate, units) in _RATES.items():
        value = prices.__dict__.get(attribute)
        if isinstance(value, types.TieredPrices):
            tiers = [[tier.start, float(tier.price) / units] for tier in value.tiers]
            rates[rate] = [[0, float(value.base) / units], *tiers]
        elif value is not None:
            rates[rate] = [[0, float(value) / units]]
    return rates


def _is_valid_on(constraint: Any, day: Any) -> bool:
    return not isinstance(constraint, types.StartDateConstraint) or (day is not None and constraint.start_date <= day)


def _is_time_of_day(constraint: Any) -> bool:
    return isinstance(constraint, types.TimeOfDateConstraint)


def _time_of_day_override(price: types.ConditionalPrice) -> dict[str, Any]:
    assert isinstance(price.constraint, types.TimeOfDateConstraint)
    hours = price.constraint
    begins, ends = hours.start_time.replace(tzinfo=None), hours.end_time.replace(tzinfo=None)
    return {"rates": _read_rates(price.prices), "begins": begins.isoformat(), "ends": ends.isoformat()}


def _variant_override(variant: types.PriceVariant) -> dict[str, Any]:
    since = variant.constraint
    day = since.start_date.isoformat() if isinstance(since, types.StartDateConstraint) else None
    return {"rates": _read_rates(variant.prices), "when": dict(variant.when), **({"since": day} if day else {})}
