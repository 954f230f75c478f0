"""One call to an embedding model: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.events import Usage


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """What will be embedded: one or more texts, in the order their vectors are wanted."""

    model: str
    texts: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedResponse:
    """One vector for each text, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    model: str | None = None
