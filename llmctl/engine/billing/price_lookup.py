"""Look up a model and its prices, for ``model show`` and ``model price``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.stored_values import loads
from llmctl.engine.billing import cost
from llmctl.engine.connections.target import Env, resolve
from llmctl.engine.models import catalog
from llmctl.engine.models.rates import RATE_COLUMNS
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import models

#: Rates that are not columns: per million tokens, or per unit for those that do not count tokens.
_EXTRA_RATES = (
    *("cache_write_1h", "input_audio", "output_audio", "cached_audio", "input_image", "output_image", "cached_image"),
    *("request", "image", "web_search", "audio_second"),
)
RATES = (*RATE_COLUMNS, *_EXTRA_RATES)


class ModelRef(NamedTuple):
    """A model of a provider."""

    provider: str
    model: str


def resolve_model(database: Database | None, reference: str, env: Env, *, allow_unknown: bool = False) -> ModelRef:
    """Return the model of a reference: PROVIDER:MODEL, anything ``--model`` takes, or a model in the catalog.

    Raises NotFoundError with similar names for an unknown model, unless ``allow_unknown``.
    """
    head, colon, model = reference.partition(":")
    if colon and model and head in PROVIDERS:
        return _require_known(ModelRef(head, model), database, allow_unknown)
    resolved = _resolve_target(database, reference, env, allow_unknown) if database else None
    if resolved and (resolved.model != reference or _is_known(resolved, database)):
        return _require_known(resolved, database, allow_unknown)
    providers = (name for name in catalog.list_providers() if catalog.find(name, reference))
    if (provider := next(providers, None)) is not None:
        return ModelRef(provider, reference)
    if resolved and allow_unknown:
        return resolved
    raise _not_found(reference)


def price_history(database: Database | None, ref: ModelRef) -> list[Row]:
    """Return the prices of a model, newest first: those in the hub, and those of the installed price list."""
    rows = models.list_prices(database, *ref) if database else []
    source, now = cost.price_list_version(), clock.now()
    if not any(row["source"] == source for row in rows):
        catalog_rows = [_catalog_row(ref, row, source) for row in catalog.price_rows(*ref)]
        rows = sorted(rows + catalog_rows, key=lambda row: row["valid_from"] or "", reverse=True)
    current = effective_price(rows, source, now)
    return [row | {"is_current": row is current} for row in rows]


def effective_price(rows: list[Row], source: str | None, now: str) -> Row | None:
    """Return the price in effect at a time; the user's own takes precedence. ``rows`` are newest first."""
    for wanted_source in (models.USER_SOURCE, source):
        for row in rows:
            if row["source"] == wanted_source and (row["valid_from"] or "") <= now:
                return row
    return None


def override_price(previous: Row | None, rates: Mapping[str, Any], since: str) -> dict[str, Any]:
    """Return the columns of a user's price: the previous price, changed by ``rates`` (None removes a rate)."""
    for name, value in rates.items():
        _validate_rate(name, value)
    row = previous or {}
    details = dict(row.get("details") or {})
    new_rates = {name: rates[name] for name in rates if name in _EXTRA_RATES}
    extra_rates = dict(details.get("rates") or {}) | new_rates
    tiers = {name: steps for name, steps in (details.get("tiers") or {}).items() if name not in rates}
    specials = [] if rates else details.get("specials")
    extra_rates = {name: value for name, value in extra_rates.items() if value is not None}
    changed = {**details, "rates": extra_rates, "tiers": tiers, "specials": specials}
    return {
        **{f"{name}_per_million": rates.get(name, row.get(f"{name}_per_million")) for name in RATE_COLUMNS},
        "details": {name: value for name, value in changed.items() if value and name != "listed_as"},
        "valid_from": since,
    }


def _validate_rate(name: str, value: Any) -> None:
    if name not in RATES:
        raise UsageError(f'unknown rate "{name}"', hint=f"available: {', '.join(RATES)}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < float("inf")):
        raise UsageError(f'rate "{name}" must be a number of US dollars of 0 or more, or null, got "{value}"')


def _resolve_target(database: Database, reference: str, env: Env, allow_unknown: bool) -> ModelRef | None:
    """Return the model that a reference leads to; with ``allow_unknown``, else that name at the default provider."""
    try:
        target = resolve(database, reference, env)
    except LlmctlError as error:  # no connection to it: the model may be in the catalog
        if error.reason != "model_not_found" or not allow_unknown:
            return None
        target = resolve(database, None, env).replace(model=reference)
    return ModelRef(target.provider.name, target.model) if target.model else None


def _require_known(ref: ModelRef, database: Database | None, allow_unknown: bool) -> ModelRef:
    if allow_unknown or _is_known(ref, database):
        return ref
    raise _not_found(ref.model, ref.provider)


def _is_known(ref: ModelRef, database: Database | None) -> bool:
    return bool(catalog.find(*ref) or (database and models.list_prices(database, *ref)))


def _not_found(model: str, provider: str | None = None) -> LlmctlError:
    providers = [provider] if provider else catalog.list_providers()
    return catalog.model_not_found(model, (known.id for known in catalog.list_models(providers)))


def _catalog_row(ref: ModelRef, row: Mapping[str, Any], source: str | None) -> Row:
    known = {"id": None, "provider": ref.provider, "model": ref.model, "source": source}
    return {**known, **row, "details": loads(row["details"], {}), "created_at": None}
