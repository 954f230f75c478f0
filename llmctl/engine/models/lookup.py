"""Which model of which provider a person means, and what it costs: for ``model show`` and ``model price``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.stored_json import loads
from llmctl.engine.billing import cost
from llmctl.engine.billing.rates import COLUMNS
from llmctl.engine.connections.target import Env, resolve
from llmctl.engine.models import catalog
from llmctl.providers import PROVIDERS
from llmctl.store.database import Database, Row
from llmctl.store.records import prices

#: Rates that are not columns; those of tokens are for a million of them, others for one.
_MORE_RATES = (
    *("cache_write_1h", "input_audio", "output_audio", "cached_audio", "input_image", "output_image", "cached_image"),
    *("request", "image", "web_search", "audio_second"),
)
RATES = (*COLUMNS, *_MORE_RATES)


class Named(NamedTuple):
    """A model of a provider."""

    provider: str
    model: str


def meant(database: Database | None, reference: str, env: Env, *, may_be_new: bool = False) -> Named:
    """Return what a person means: PROVIDER:MODEL, what ``--model`` takes, or a model that a table has.

    NotFoundError with near names for a model that nobody knows, unless it ``may_be_new``.
    """
    head, colon, model = reference.partition(":")
    if colon and model and head in PROVIDERS:
        return _known(Named(head, model), database, may_be_new)
    guess = _resolved(database, reference, env) if database else None
    if guess and (guess.model != reference or _is_known(guess, database)):
        return _known(guess, database, may_be_new)
    sellers = (name for name in catalog.providers() if catalog.find(name, reference))
    if (seller := next(sellers, None)) is not None:
        return Named(seller, reference)
    if guess and may_be_new:
        return guess
    raise _missing(reference)


def history(database: Database | None, named: Named) -> list[Row]:
    """Return what a model cost and costs, the newest first: kept rows, else what the list says."""
    kept = prices.records(database, *named) if database else []
    source, now = cost.list_version(), clock.now()
    if not any(row["source"] == source for row in kept):
        listed = [_listed_row(named, row, source) for row in catalog.rows(*named)]
        kept = sorted(kept + listed, key=lambda row: row["valid_from"] or "", reverse=True)
    current = effective(kept, source, now)
    return [row | {"is_current": row is current} for row in kept]


def effective(rows: list[Row], source: str | None, now: str) -> Row | None:
    """Return the row that counts at a time: the user's own before the list's (rows: the latest first)."""
    for wanted in (prices.USER, source):
        for row in rows:
            if row["source"] == wanted and (row["valid_from"] or "") <= now:
                return row
    return None


def overridden(before: Row | None, given: Mapping[str, Any], since: str) -> dict[str, Any]:
    """Return the content of a user's price: what counted before, with the given rates (None takes one away)."""
    for name, value in given.items():
        _check(name, value)
    row = before or {}
    details = dict(row.get("details") or {})
    rates = dict(details.get("rates") or {}) | {name: given[name] for name in given if name in _MORE_RATES}
    tiers = {name: steps for name, steps in (details.get("tiers") or {}).items() if name not in given}
    specials = [] if given else details.get("specials")
    kept = {name: value for name, value in rates.items() if value is not None}
    changed = {**details, "rates": kept, "tiers": tiers, "specials": specials}
    return {
        **{f"{name}_per_million": given.get(name, row.get(f"{name}_per_million")) for name in COLUMNS},
        "details": {name: value for name, value in changed.items() if value and name != "listed_as"},
        "valid_from": since,
    }


def _check(name: str, value: Any) -> None:
    if name not in RATES:
        raise UsageError(f'no rate "{name}"', hint=f"there are {', '.join(RATES)}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < float("inf")):
        raise UsageError(f'"{value}" is no price of "{name}"', hint="a number of US dollars of 0 or more, or null")


def _resolved(database: Database, reference: str, env: Env) -> Named | None:
    try:
        target = resolve(database, reference, env)
    except LlmctlError:  # no connection at all: the tables may know it
        return None
    return Named(target.provider.name, target.model) if target.model else None


def _known(named: Named, database: Database | None, may_be_new: bool) -> Named:
    if may_be_new or _is_known(named, database):
        return named
    raise _missing(named.model, named.provider)


def _is_known(named: Named, database: Database | None) -> bool:
    return bool(catalog.find(*named) or (database and prices.records(database, *named)))


def _missing(model: str, provider: str | None = None) -> LlmctlError:
    sellers = [provider] if provider else catalog.providers()
    return catalog.missing(model, (known.id for known in catalog.everything(sellers)))


def _listed_row(named: Named, row: Mapping[str, Any], source: str | None) -> Row:
    known = {"id": None, "provider": named.provider, "model": named.model, "source": source}
    return {**known, **row, "details": loads(row["details"], {}), "created_at": None}
