"""One call to an image model: a prompt in, images out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.chat import File, Usage


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image request. ``files`` are input images, if the host accepts them."""

    model: str
    prompt: str
    files: tuple[File, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageResponse:
    """The images: bytes, or a URL if the host returns only that."""

    images: tuple[File, ...]
    usage: Usage | None = None
    model: str | None = None
    #: The prompt as the provider rewrote it, if reported.
    revised_prompt: str | None = None
