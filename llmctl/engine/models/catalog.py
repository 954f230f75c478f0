"""What is known of models: prices from one table, what they take and can do from another, joined by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core.errors import LlmctlError, NotFoundError
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.billing import price_source
from llmctl.engine.billing.price_source import Listed
from llmctl.engine.models import capabilities
from llmctl.engine.models.capabilities import Facts
from llmctl.providers import PROVIDERS


@dataclass(frozen=True, slots=True)
class Known:
    """A model of a provider. What neither table says is None."""

    provider: str
    id: str
    listed: Listed | None
    facts: Facts | None

    def record(self, now: str) -> dict[str, Any]:
        """Return it as a record, with what it costs now, in US dollars for a million tokens."""
        listed, facts = self.listed, self.facts
        price = current(listed.rows, now) if listed else None
        rates = ("input", "output", "cached", "cache_write", "thinking")
        return {
            "id": self.id,
            "provider": self.provider,
            "name": (listed.name if listed else None) or (facts.name if facts else None),
            "type": facts.type if facts else _type(self.id),
            "context_tokens": (listed.context_window if listed else None) or (facts.context_tokens if facts else None),
            "max_output_tokens": facts.max_output_tokens if facts else None,
            "capabilities": list(facts.capabilities) if facts else None,
            **{f"{rate}_per_million": price[f"{rate}_per_million"] if price else None for rate in rates},
            "released": facts.released if facts else None,
            "deprecated": (listed.deprecated if listed else False) or (facts.deprecated if facts else False),
            "names": list(listed.names) if listed else [self.id],
        }


def rows(provider: str, model: str) -> list[dict[str, Any]]:
    """Return what a model costs as rows of ``model_prices``, with its longest answer; none where nobody knows."""
    found = price_source.find(provider, model)
    if found is None:
        return []
    facts = capabilities.find(provider, model) or _facts_of(provider, found)
    if facts is None or facts.max_output_tokens is None:
        return [dict(row) for row in found.rows]
    more = {"max_output_tokens": facts.max_output_tokens}
    return [{**row, "details": dumps(loads(row["details"], {}) | more)} for row in found.rows]


def find(provider: str, model: str) -> Known | None:
    """Return what is known of a model of that provider, by a name that a table gives it or a dated one of these."""
    listed = price_source.find(provider, model)
    facts = capabilities.find(provider, model) or (_facts_of(provider, listed) if listed else None)
    return Known(provider, model, listed, facts) if listed or facts else None


def everything(providers: Iterable[str]) -> list[Known]:
    """Return every model of the providers that a table has, by provider and name."""
    found = [known for provider in providers for known in _of(provider)]
    return sorted(found, key=lambda known: (known.provider, known.id.lower()))


def providers() -> list[str]:
    """Return the providers that can have models in a table."""
    return [name for name in PROVIDERS.names() if not PROVIDERS.load(name).local and name not in ("echo", "compatible")]


def missing(model: str, known: Iterable[str]) -> LlmctlError:
    """Return the error for a model that no table has, with near names."""
    from difflib import get_close_matches  # an error path; difflib is slow to import

    names = sorted(set(known))
    near = get_close_matches(model, names, n=5, cutoff=0.5) or [name for name in names if model.lower() in name][:5]
    return NotFoundError(
        f'no model "{model}" in the tables',
        hint=f"did you mean {', '.join(near)}?" if near else "see: llmctl model list --search TEXT",
        reason="model_not_found",
    )


def current(found: Iterable[dict[str, Any]], now: str) -> dict[str, Any] | None:
    """Return the row that counts at a time; rows stand in the order of their dates."""
    return next((row for row in reversed(list(found)) if (row["valid_from"] or "") <= now), None)


def _of(provider: str) -> Iterator[Known]:
    seen = set()
    for listed in price_source.listed([provider]):
        facts = _facts_of(provider, listed)
        seen |= {name.lower() for name in listed.names}
        yield Known(provider, listed.id, listed, facts)
    for fact in capabilities.listed(provider):
        if fact.id.lower() not in seen:
            yield Known(provider, fact.id, price_source.find(provider, fact.id), fact)


def _facts_of(provider: str, listed: Listed) -> Facts | None:
    return next((facts for name in listed.names if (facts := capabilities.find(provider, name))), None)


def _type(model: str) -> str | None:
    """Return what a model is for, where its name says so."""
    words = {"embed": "embedding", "moderation": "moderation", "image": "image", "whisper": "audio", "tts": "audio"}
    return next((type for word, type in words.items() if word in model.lower()), None)
