"""Conversations of other programs in a neutral form, between format readers and the import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmctl.core.chat import File, Part, Role
from llmctl.core.values import Value

#: Metadata key of a :class:`File` without bytes: the id or name under which the source mentions it.
FILE_REFERENCE_KEY = "import_reference"


class ImportedUsage(Value):
    """Usage of one answer, as far as the source reports it. ``cost`` is in US dollars."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    thinking_tokens: int | None = None
    duration_ms: int | None = None
    cost: float | None = None
    response_model: str | None = None
    cache_write_tokens: int | None = None
    #: Separately priced counts, as in the usage of a chat.
    details: Mapping[str, float] = {}
    #: The provider's id of the answer.
    response_id: str | None = None
    #: Options and schema of the request.
    parameters: Mapping[str, Any] = {}


class ImportedMessage(Value):
    """A message. ``id`` is the source's own id; ``at`` a stored time; with ``usage`` a request row is created."""

    role: Role
    parts: tuple[Part, ...]
    id: str
    at: str | None = None
    model: str | None = None
    provider: str | None = None
    usage: ImportedUsage | None = None
    complete: bool = True
    metadata: Mapping[str, Any] = {}
    #: The source does not show the message: it is kept in the thread, but neither shown nor sent.
    hidden: bool = False


class ImportedConversation(Value):
    """A conversation. ``source`` is the program; together with ``id`` it yields the same rows on every import."""

    source: str
    id: str
    entries: Sequence[ImportedMessage]
    name: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    model: str | None = None
    provider: str | None = None
    metadata: Mapping[str, Any] = {}
    #: The id of the conversation that this one was forked from, and how many messages they share.
    parent_id: str | None = None
    shared: int = 0
    #: Options of the model, which later turns take over.
    options: Mapping[str, Any] = {}
    #: The program that talked to the model, its version, and the folder that it worked in.
    app: str | None = None
    client: str | None = None
    folder: str | None = None
    #: The conversation, as that program calls it in its requests.
    session_key: str | None = None


class SkippedItems(Value):
    """Items that a reader skips: how many, and of what kind in the plural; ``singular`` if it is not regular."""

    number: int
    what: str
    singular: str | None = None


class SkipCounter:
    """Counts what a reader skips of one document."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, singular: str, plural: str, number: int = 1) -> None:
        self._counts[singular, plural] += number

    def add_block(self, kind: object) -> None:
        """Count a part of a message that is not taken."""
        self.add(f'block of type "{kind}"', f'blocks of type "{kind}"')

    def add_message(self) -> None:
        """Count a message that cannot be read."""
        self.add("message that cannot be read", "messages that cannot be read")

    def items(self) -> Iterator[SkippedItems]:
        """Yield what was counted."""
        for (singular, plural), number in self._counts.items():
            yield SkippedItems(number, plural, singular)


def refer_to_file(reference: str, media_type: str | None = None, name: str | None = None) -> File:
    """Return a file that the source mentions; the archive around the source may have its bytes."""
    return File(media_type or "application/octet-stream", name=name, metadata={FILE_REFERENCE_KEY: reference})
