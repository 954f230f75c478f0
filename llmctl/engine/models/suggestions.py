"""Names near to that of a model which a provider does not know, from the tables: for hints."""

from __future__ import annotations

from llmctl.core.errors import LlmctlError
from llmctl.engine.connections.target import Target


def hinted(error: LlmctlError, target: Target) -> LlmctlError:
    """Return the error, with near names in its hint where a provider does not know the model."""
    if error.reason == "model_not_found" and not target.provider.local:
        from difflib import get_close_matches  # an error path; the tables take 200 ms

        from llmctl.engine.models import catalog

        names = [known.id for known in catalog.everything([target.provider.name])]
        if near := [name for name in get_close_matches(target.model, names, n=4) if name != target.model][:3]:
            error.hint = f"did you mean {', '.join(near)}?" + (f" {error.hint}" if error.hint else "")
    return error
