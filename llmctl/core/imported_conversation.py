"""Conversations of other programs in a neutral form, between format readers and the import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core.chat import Part, Role


@dataclass(frozen=True, slots=True)
class ImportedUsage:
    """Usage of one answer, as far as the source reports it. ``cost`` is in US dollars."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    thinking_tokens: int | None = None
    duration_ms: int | None = None
    cost: float | None = None
    response_model: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """A message. ``id`` is the source's own id; ``at`` a stored time; with ``usage`` a request row is created."""

    role: Role
    parts: tuple[Part, ...]
    id: str
    at: str | None = None
    model: str | None = None
    provider: str | None = None
    usage: ImportedUsage | None = None
    complete: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportedConversation:
    """A conversation. ``source`` is the program; together with ``id`` it yields the same rows on every import."""

    source: str
    id: str
    entries: Sequence[ImportedMessage]
    name: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    model: str | None = None
    provider: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: The id of the conversation that this one was forked from, and how many messages they share.
    parent_id: str | None = None
    shared: int = 0


class SkippedItems(NamedTuple):
    """Items that a reader skips: how many, of what kind and why."""

    number: int
    what: str
