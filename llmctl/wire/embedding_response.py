"""Parse embedding vectors and match them with the texts of the request; shared by all wires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.embeddings import EmbedRequest, EmbedResponse
from llmctl.core.errors import UnavailableError
from llmctl.core.events import Usage

Vector = tuple[float, ...]


def parse_vector(value: Any) -> Vector:
    """Return a list of numbers as a vector; an empty vector for anything else."""
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        return ()
    return tuple(map(float, value))


def build_embed_response(
    vectors: Iterable[Vector], request: EmbedRequest, usage: Usage | None, model: Any
) -> EmbedResponse:
    """Return the response; raise UnavailableError if the number of vectors differs from that of the texts."""
    found = tuple(filter(None, vectors))
    if len(found) != len(request.texts):
        raise UnavailableError(
            f"the response has {len(found)} vectors for {len(request.texts)} texts",
            reason="no_answer",
            status_code=200,
        )
    return EmbedResponse(found, usage, model if isinstance(model, str) and model else None)
