"""A message and its parts, in no provider's words.

Each part has a drawer ``metadata`` for what a provider wants back unchanged (signatures, encrypted reasoning,
item ids), so that no provider's field leaks into the vocabulary. ``to_json`` and ``from_json`` give the form kept
in ``messages.content_raw``: a JSON array of objects with a ``type``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning that a model showed; ``signature`` proves it to the provider that made it."""

    text: str
    signature: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for. ``arguments`` is the JSON text as it came, valid or not."""

    id: str
    name: str
    arguments: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave; ``content`` is text for the model."""

    call_id: str
    name: str
    content: str
    is_error: bool = False
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment: its bytes, or a URL that the provider fetches itself."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    name: str | None = None
    metadata: Metadata = field(default_factory=dict)


Part = Text | Thinking | ToolCall | ToolResult | File


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]
    #: What a provider said beside the parts and may want back (citations, reasoning details).
    metadata: Metadata = field(default_factory=dict)

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def said(self) -> str:
        """The text, and what tools gave: what people read and search for."""
        results = [part.content for part in self.parts if isinstance(part, ToolResult)]
        return "\n".join(filter(None, (self.text, *results)))

    @property
    def thinking(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


_TYPES: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def to_json(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return the parts as JSON objects; empty fields are left out.

    Files are not among them: their bytes live in ``attachments``.
    """
    return [
        {"type": _NAMES[type(part)]} | {name: value for name in part.__slots__ if (value := getattr(part, name))}
        for part in parts
        if not isinstance(part, File)
    ]


def from_json(items: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """Read what :func:`to_json` wrote; objects of an unknown ``type`` and unknown fields are passed over."""
    return tuple(_part(item) for item in items if item.get("type") in _TYPES)


def _part(item: Mapping[str, Any]) -> Part:
    kind = _TYPES[item["type"]]
    empty = {name: "" for name in kind.__slots__ if name not in ("metadata", "signature", "is_error")}
    part: Part = kind(**empty | {name: item[name] for name in kind.__slots__ if name in item})
    return part
