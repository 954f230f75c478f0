"""A message and its parts, provider-neutral.

``metadata`` of a part holds what a provider expects back unchanged (signatures, encrypted reasoning, item ids).
``to_json`` and ``from_json`` convert to the form of ``messages.content_raw``: a JSON array of objects with a
``type``.
"""

from __future__ import annotations

import re
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
    """Reasoning of a model; ``signature`` proves it to the provider that produced it."""

    text: str
    signature: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model requests. ``arguments`` is the JSON text as received, valid or not."""

    id: str
    name: str
    arguments: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call; ``content`` is text for the model."""

    call_id: str
    name: str
    content: str
    is_error: bool = False
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment: bytes, or a URL that the provider fetches itself."""

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
    #: Data beside the parts that a provider may expect back (citations, reasoning details).
    metadata: Metadata = field(default_factory=dict)

    @classmethod
    def from_text(cls, role: Role, text: str) -> Message:
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def stored_text(self) -> str:
        """The text and the tool results, as stored for reading and searching."""
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
    """Return the parts as JSON objects without empty fields.

    Files are omitted: their bytes are stored in ``attachments``.
    """
    return [
        {"type": _NAMES[type(part)]} | {name: value for name in part.__slots__ if (value := getattr(part, name))}
        for part in parts
        if not isinstance(part, File)
    ]


def from_json(items: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """Return the parts that :func:`to_json` wrote; unknown types and fields are ignored."""
    return tuple(_parse_part(item) for item in items if item.get("type") in _TYPES)


def _parse_part(item: Mapping[str, Any]) -> Part:
    kind = _TYPES[item["type"]]
    defaults = {name: "" for name in kind.__slots__ if name not in ("metadata", "signature", "is_error")}
    part: Part = kind(**defaults | {name: item[name] for name in kind.__slots__ if name in item})
    return part


# A string: compiled when an answer is searched, not at start-up.
_FENCED_BLOCK = r"(?sm)^(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<block>.*?)^(?P=fence)[`~]*[ \t]*$"


def find_fenced_block(text: str) -> str | None:
    """Return the content of the first fenced block of Markdown, without the fences; None if there is none."""
    match = re.search(_FENCED_BLOCK, text)
    return match["block"] if match else None


#: Metadata key of a :class:`File`: the URL that it was fetched from.
SOURCE_URL_KEY = "source"
