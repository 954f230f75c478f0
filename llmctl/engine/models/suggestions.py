"""Suggest similar model names when a provider does not know one. Apart from ``lookup``: every turn imports this."""

from __future__ import annotations

from llmctl.core.errors import LlmctlError
from llmctl.engine.connections.target import Target


def add_model_suggestions(error: LlmctlError, target: Target) -> LlmctlError:
    """Return the error, with similar names in its hint where the provider does not know the model."""
    if error.reason == "model_not_found" and not target.provider.local:
        from difflib import get_close_matches  # an error path; the tables take 200 ms

        from llmctl.engine.models import catalog

        names = [model.id for model in catalog.list_models([target.provider.name])]
        if near := [name for name in get_close_matches(target.model, names, n=4) if name != target.model][:3]:
            error.hint = f"did you mean {', '.join(near)}?" + (f" {error.hint}" if error.hint else "")
    return error
