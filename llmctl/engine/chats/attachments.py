"""Which files travel to which model: new ones must all be fit, of earlier ones what cannot travel stays behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmctl.core.dialect import Dialect
from llmctl.core.errors import RejectedError, UsageError
from llmctl.core.media_types import UNKNOWN
from llmctl.core.messages import File, Message, Part, Text
from llmctl.engine.connections.target import Target
from llmctl.engine.turn.options import Ask, Surroundings
from llmctl.wire import WIRES, Wire

#: Key of a file's metadata: the URL that we fetched it from.
SOURCE = "source"


def ready(ask: Ask, target: Target, around: Surroundings | None) -> Ask:
    """Return what is said with files that the model takes; URLs that its provider cannot fetch are fetched here.

    Nothing is fetched without ``around``: such files are empty. Raises RejectedError (``unsupported_media``) for a
    file that the model cannot take, and what :func:`fetching.fetch` raises.
    """
    if not ask.files:
        return ask
    return ask._replace(files=tuple(_ready(file, target, around) for file in ask.files))


def fit(messages: Iterable[Message], target: Target) -> tuple[tuple[Message, ...], list[str]]:
    """Return the messages without the files that this model cannot take, and the names of those."""
    return fit_for(messages, WIRES.load(target.wire), target.provider.dialect)


def fit_for(messages: Iterable[Message], wire: Wire, dialect: Dialect) -> tuple[tuple[Message, ...], list[str]]:
    """Do as :func:`fit` does, for whatever speaks a wire in this dialect."""
    left: list[str] = []

    def shown(part: Part) -> Part:
        if not isinstance(part, File) or wire.accepts(part.media_type, part.data is None, dialect):
            return part
        left.append(_name(part))
        return Text(f'[the file "{_name(part)}" ({part.media_type}) cannot be shown to you]')

    found = tuple(
        replace(message, parts=tuple(map(shown, message.parts)))
        if any(isinstance(part, File) for part in message.parts)
        else message
        for message in messages
    )
    return found, left


def _ready(file: File, target: Target, around: Surroundings | None) -> File:
    if file.data is None and not _travels(file, target):
        file = _fetched(file, around) if around else replace(file, url=None, data=b"")
        if not around and file.media_type == UNKNOWN:  # only the content would tell
            return replace(file, media_type="text/plain")
    if not _travels(file, target):
        raise RejectedError(
            f'{target.model or target.provider.name} takes no {file.media_type}: "{_name(file)}"',
            hint="convert it to text, PDF or an image, or choose another model with -m",
            reason="unsupported_media",
        )
    return file


def _fetched(file: File, around: Surroundings) -> File:
    assert file.url
    from llmctl.engine.chats import url_fetch

    found = url_fetch.fetch(file.url, around)
    if not found.data:
        raise UsageError(f'"{file.url}" is empty')
    return File(found.media_type, data=found.data, name=found.name, metadata={SOURCE: file.url})


def _travels(file: File, target: Target) -> bool:
    wire = WIRES.load(target.wire)
    return wire.accepts(file.media_type, file.data is None, target.provider.dialect)


def _name(file: File) -> str:
    return file.name or file.url or "attachment"
