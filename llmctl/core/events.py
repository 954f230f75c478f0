"""What comes back from a model, streaming or not: always a sequence of these events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. ``input_tokens`` counts cached ones too, ``output_tokens`` counts thinking."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    #: US dollars, where the provider itself says what it charged.
    cost: float | None = None
    #: What has a price of its own, by unit. Parts of the counts above: ``cache_write_1h_tokens``,
    #: ``input_audio_tokens``, ``output_audio_tokens``, ``cached_audio_tokens``, ``input_image_tokens``,
    #: ``output_image_tokens``, ``cached_image_tokens``; beside them: ``web_searches``, ``images``, ``audio_seconds``.
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """Who really answers. May come more than once; later values replace earlier ones."""

    model: str | None = None
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer. Pieces that follow each other make one part, and those of one ``index`` another.

    A part of its own is for text that a provider wants back in the very piece it came in: its ``metadata`` says why.
    """

    text: str
    index: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of thinking. A signature may come alone; pieces of one ``index`` make one part."""

    text: str = ""
    signature: str | None = None
    index: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call: ``id`` and ``name`` once, ``arguments`` (JSON text) in any number of pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MessageMetadata:
    """What belongs to the message but to no part: citations, search results, reasoning details."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens so far. Cumulative: the last one counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that could not be decoded. Reading goes on, but the answer counts as incomplete."""

    detail: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete: the terminal event came. Its absence means that the stream was cut.

    ``reason`` is one of ``stop``, ``length``, ``tool_calls``, ``content_filter``, ``incomplete`` (the provider itself
    says that there should be more), ``other``; ``raw`` is the provider's own word.
    """

    reason: str
    raw: str | None = None


StreamEvent = (
    TextDelta | ThinkingDelta | ToolCallDelta | ResponseStart | MessageMetadata | UsageReport | Unreadable | Finish
)
