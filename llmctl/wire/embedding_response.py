"""What every wire does with vectors: read their numbers, and hold them against the texts they are of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.errors import UnavailableError
from llmctl.core.events import Usage

Vector = tuple[float, ...]


def vector_of(value: Any) -> Vector:
    """Return a list of numbers as a vector; an empty one for anything else."""
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        return ()
    return tuple(map(float, value))


def response_of(vectors: Iterable[Vector], request: EmbedRequest, usage: Usage | None, model: Any) -> EmbedResponse:
    """Return the answer; raise UnavailableError where there are not as many vectors as texts."""
    found = tuple(filter(None, vectors))
    if len(found) != len(request.texts):
        raise UnavailableError(
            f"the answer holds {len(found)} vectors for {len(request.texts)} texts",
            reason="no_answer",
            status_code=200,
        )
    return EmbedResponse(found, usage, model if isinstance(model, str) and model else None)
