"""Which connection has a model that is named alone: ``-m gpt-4o``. A prompt never goes to a vendor that was not meant.

Only opened for names that the hub itself does not know: the catalog takes long to load.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError
from llmctl.engine.connections import trust
from llmctl.engine.models import catalog
from llmctl.providers import PROVIDERS, Provider, host_matches, is_loopback, parse_host
from llmctl.store.database import Database
from llmctl.store.records import connections, models
from llmctl.store.records.types import ConnectionRow

#: How vendors name their models, for those newer than the catalog.
_VENDOR_NAMES = (
    ("openai", r"(?!gpt-oss)(gpt|chatgpt|codex|sora|dall-e|text-embedding|o\d)(-|$)"),
    ("anthropic", r"claude(-|$)"),
    ("gemini", r"(gemini|imagen|veo|learnlm)(-|$)"),
    ("mistral", r"(mistral|ministral|magistral|codestral|devstral|pixtral|voxtral)(-|$)"),
    ("deepseek", r"deepseek-(?!r1:)"),
    ("xai", r"grok(-|$)"),
    ("perplexity", r"sonar(-|$)"),
    ("zai", r"glm-"),
)


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """Where a model goes if nothing else is known about it."""

    provider: Provider
    base_url: str
    #: Name of the connection; None for a provider that is used without one.
    connection: str | None

    @property
    def name(self) -> str:
        return self.connection or self.provider.name


def choose_connection(
    database: Database, model: str, default: DefaultModel | None, env: Mapping[str, str], kind: str = "chat"
) -> ConnectionRow | None:
    """Return the connection that has a model; None for the default.

    Raises NotFoundError, with similar names, for a model that nobody is known to have, and for one that several
    connections have; ConfigError for a model of a vendor without a connection.
    """
    if default and _is_priced(database, default.provider.name, model):
        return None
    rows = connections.list_remote(database)
    usable = [row for row in rows if row.type == kind] or [row for row in rows if row.type == "chat"]
    providers = {row.provider.lower() for row in usable} | ({default.provider.name} if default else set())
    having = {provider for provider in providers if _has_model(database, provider, model)}
    if default and default.provider.name in having:
        return None
    found = trust.keep_trusted(database, [row for row in usable if row.provider.lower() in having], env)
    if len(found) == 1:
        return found[0]
    if found:
        raise ambiguous_model(model, (row.name for row in found))
    if default and _knows_any_name(default) and not _is_misspelled(default, model, rows):
        return None
    raise _unknown_model(database, model, default, rows)


def ambiguous_model(model: str, names: Iterable[str]) -> LlmctlError:
    """Return the error for a model that several connections have."""
    return NotFoundError(
        f'more than one connection has the model "{model}"',
        hint="choose one: " + " or ".join(f"-m {name}:{model}" for name in names),
        reason="ambiguous",
    )


def _has_model(database: Database, provider: str, model: str) -> bool:
    """Return whether a provider is known to have exactly that model."""
    # The price list has Google's models and those of its customers' cloud in one table.
    if provider == "gemini" and _name_vendor(model) not in (None, "gemini"):
        return False
    return _is_priced(database, provider, model) or catalog.find(provider, model) is not None


def _is_priced(database: Database, provider: str, model: str) -> bool:
    """Return whether the hub has a price of the model: it has, once the model was used."""
    rows = models.prices_for_models(database, provider, [model])
    return any(row.details != models.NO_PRICE for row in rows)


def _knows_any_name(default: DefaultModel) -> bool:
    """Return whether nobody can tell which models the default has: a local server, a router, an unknown host."""
    provider, url = default.provider, default.base_url
    if provider.local or provider.router or is_loopback(url):
        return True
    host = parse_host(url)
    known = (PROVIDERS.load(name) for name in PROVIDERS.names())
    return not any(
        host == parse_host(vendor.base_url) or any(host_matches(host, pattern) for pattern in vendor.hosts)
        for vendor in known
    )


def _is_misspelled(default: DefaultModel, model: str, rows: Iterable[ConnectionRow]) -> bool:
    """Return whether the text looks like another connection's CONNECTION:MODEL, and the default is not local."""
    head, colon, _ = model.partition(":")
    if not colon or default.provider.local or default.provider.router or is_loopback(default.base_url):
        return False
    return bool(_near_names(head, _list_heads(rows), cutoff=0.8))


def _unknown_model(
    database: Database, model: str, default: DefaultModel | None, rows: list[ConnectionRow]
) -> LlmctlError:
    vendor = find_vendor(model)
    own = next((row.name for row in rows if vendor and row.provider.lower() == vendor), None)
    if vendor and own is None and not (default and default.provider.name == vendor):
        return ConfigError(
            f'no connection to {vendor}, which has the model "{model}"'
            if model != vendor
            else f"no connection to {vendor}",
            hint=f"add one: llmctl connection add {vendor}",
            reason="no_connection",
        )
    name = own or (default.name if default else None)
    near = _suggest(database, model, default, rows)
    hints = [f"did you mean {', '.join(near)}?"] if near else []
    hints += [f"to send it to {name} as it is: -m {name}:{model}"] if name else []
    return NotFoundError(
        f'no model "{model}"', hint=" ".join(hints) or "see: llmctl model list", reason="model_not_found"
    )


def find_vendor(model: str) -> str | None:
    """Return the provider that a name alone stands for: as its maker names models, as the catalog, or its own name."""
    providers = [name for name in catalog.list_providers() if _is_in_catalog(name, model)]
    lower = model.lower()
    return _name_vendor(model) or next(iter(providers), None) or (lower if lower in catalog.list_providers() else None)


def _is_in_catalog(provider: str, model: str) -> bool:
    return catalog.find(provider, model) is not None


def _name_vendor(model: str) -> str | None:
    return next((vendor for vendor, names in _VENDOR_NAMES if re.match(names, model.lower())), None)


def _suggest(database: Database, model: str, default: DefaultModel | None, rows: list[ConnectionRow]) -> list[str]:
    """Return similar names that work."""
    head, colon, rest = model.partition(":")
    if colon and rest and (heads := _near_names(head, _list_heads(rows), cutoff=0.6)):
        return [f"{name}:{rest}" for name in heads]
    providers = {row.provider.lower() for row in rows} | ({default.provider.name} if default else set())
    names = {row.name for row in rows} | {row.model_id for row in rows if row.model_id}
    names |= {str(alias["name"]) for alias in models.list_aliases(database)}
    names |= {known.id for known in catalog.list_models(sorted(providers))}
    own = [row.name for row in rows if row.provider.lower() == model.lower()]
    return own or _near_names(model, names, cutoff=0.6)


def _list_heads(rows: Iterable[ConnectionRow]) -> set[str]:
    return {row.name for row in rows} | set(PROVIDERS.names())


def _near_names(name: str, names: Iterable[str], *, cutoff: float) -> list[str]:
    from difflib import get_close_matches  # an error path; difflib is slow to import

    return get_close_matches(name, sorted(names), n=3, cutoff=cutoff)
