"""One call to an image model: a prompt in, pictures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.events import Usage
from llmctl.core.messages import File


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What will be drawn. ``files`` are pictures to begin with, where the host takes such."""

    model: str
    prompt: str
    files: tuple[File, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageResponse:
    """The pictures: bytes, or a URL where the host gives no more."""

    images: tuple[File, ...]
    usage: Usage | None = None
    model: str | None = None
    #: The prompt as the provider rewrote it, where it says so.
    revised_prompt: str | None = None
