"""One call to an embedding model: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.chat import Usage
from llmctl.core.values import Value


class EmbedRequest(Value):
    """The texts to embed, in the order in which the vectors are returned."""

    model: str
    texts: tuple[str, ...]
    options: Mapping[str, Any] = {}


class EmbedResponse(Value):
    """One vector per text, in the same order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    model: str | None = None
