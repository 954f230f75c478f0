"""Conversations of other programs, in no program's words: what their readers give and what becomes rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core.messages import Part, Role


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer took, where the source says so. ``cost`` is in US dollars."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    thinking_tokens: int | None = None
    duration_ms: int | None = None
    cost: float | None = None
    response_model: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A message. ``id`` is the source's own; ``at`` a stored time; ``usage`` makes a request of the ledger."""

    role: Role
    parts: tuple[Part, ...]
    id: str
    at: str | None = None
    model: str | None = None
    provider: str | None = None
    usage: Usage | None = None
    complete: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """A conversation. ``source`` is the program; with ``id`` it makes the same rows of it every time."""

    source: str
    id: str
    entries: Sequence[Entry]
    name: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    model: str | None = None
    provider: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: The id of the conversation this one was forked from, and how many entries they share.
    parent_id: str | None = None
    shared: int = 0


class Passed(NamedTuple):
    """What a reader leaves out: how many of what, and why."""

    number: int
    what: str
