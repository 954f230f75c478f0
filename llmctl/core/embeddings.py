"""One call to an embedding model: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.chat import Usage


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """The texts to embed, in the order in which the vectors are returned."""

    model: str
    texts: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedResponse:
    """One vector per text, in the same order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    model: str | None = None
