"""The events of a response. Every response, streamed or not, is a sequence of them."""

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
    #: US dollars, if the provider reports its charge.
    cost: float | None = None
    #: Units with their own prices. Included in the counts above: ``cache_write_1h_tokens``,
    #: ``input_audio_tokens``, ``output_audio_tokens``, ``cached_audio_tokens``, ``input_image_tokens``,
    #: ``output_image_tokens``, ``cached_image_tokens``; in addition: ``web_searches``, ``images``, ``audio_seconds``.
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """The model that answers, and the response id. May be repeated; later values replace earlier ones."""

    model: str | None = None
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer. Consecutive pieces without an index form a part, as do pieces of the same ``index``.

    An index marks text that a provider expects back as a separate part, with its ``metadata``.
    """

    text: str
    index: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of thinking. Pieces of one ``index`` form a part; a signature may arrive without text."""

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
    """Data of the message that belongs to no part: citations, search results, reasoning details."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens so far. Cumulative: the last report counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that could not be decoded. Reading continues, but the answer counts as incomplete."""

    detail: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete: the terminal event arrived. Without it the stream was cut.

    ``reason`` is one of ``stop``, ``length``, ``tool_calls``, ``content_filter``, ``incomplete`` (the provider
    reports that the answer is not complete), ``other``; ``raw`` is the provider's own value.
    """

    reason: str
    raw: str | None = None


StreamEvent = (
    TextDelta | ThinkingDelta | ToolCallDelta | ResponseStart | MessageMetadata | UsageReport | Unreadable | Finish
)
