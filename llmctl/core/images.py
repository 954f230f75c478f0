"""One call to an image model: a prompt in, images out."""

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
