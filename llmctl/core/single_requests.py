"""Requests to embedding and image models: one call, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.chat import File, Usage
from llmctl.core.values import Value


class ImageRequest(Value):
    """An image request. ``files`` are input images, if the host accepts them."""

    model: str
    prompt: str
    files: tuple[File, ...] = ()
    options: Mapping[str, Any] = {}


class ImageResponse(Value):
    """The images: bytes, or a URL if the host returns only that."""

    images: tuple[File, ...]
    usage: Usage | None = None
    model: str | None = None
    #: The prompt as the provider rewrote it, if reported.
    revised_prompt: str | None = None


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
