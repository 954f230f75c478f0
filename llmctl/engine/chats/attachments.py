"""Read attachments, and check what a model accepts: new files must fit, unsupported old ones are left out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from llmctl.core.dialect import Dialect
from llmctl.core.errors import NotFoundError, RejectedError, UsageError
from llmctl.core.media_types import UNKNOWN, detect, guess_from_name
from llmctl.core.messages import File, Message, Part, Text
from llmctl.engine.connections.target import Target
from llmctl.engine.runtime import RuntimeEnv
from llmctl.wire import WIRES, Wire

#: Metadata key of a file: the URL that it was fetched from.
SOURCE_URL_KEY = "source"

#: No provider takes more in one request, and every later turn of the chat sends it again.
_MAX_BYTES = 50_000_000


def read_attachment(name: str) -> File:
    """Return an attachment: a URL as it is, a file with its content.

    Raises NotFoundError, and UsageError for a file that is empty or too large.
    """
    if name.lower().startswith(("https://", "http://")):
        return _attachment_from_url(name)
    display_name = os.path.basename(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        with open(name, "rb") as file:
            return attachment_from_bytes(file.read(_MAX_BYTES + 1), display_name)
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error


def attachment_from_bytes(data: bytes, name: str | None = None) -> File:
    """Return an attachment of these bytes; without a name they came from stdin."""
    source = f'"{name}"' if name else "standard input"
    if not data:
        raise UsageError(f"{source} is empty: there is nothing to attach")
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{source} is larger than {_MAX_BYTES // 1_000_000} MB", reason="too_large")
    return File(detect(name or "", data), data=data, name=name)


def prepare_files(files: Iterable[File], target: Target, runtime: RuntimeEnv | None) -> tuple[File, ...]:
    """Return new files as the model takes them; URLs that its provider cannot fetch are fetched here.

    Without ``runtime`` nothing is fetched, and such files are empty. Raises RejectedError (``unsupported_media``)
    for a file that the model cannot take, and what :func:`url_fetch.fetch_url` raises.
    """
    return tuple(_prepare_file(file, target, runtime) for file in files)


def drop_unsupported_files(messages: Iterable[Message], target: Target) -> tuple[tuple[Message, ...], list[str]]:
    """Return the messages without the files that this model cannot take, and the names of those."""
    return drop_unsupported_files_for(messages, WIRES.load(target.wire), target.provider.dialect)


def drop_unsupported_files_for(
    messages: Iterable[Message], wire: Wire, dialect: Dialect
) -> tuple[tuple[Message, ...], list[str]]:
    """Do the same as :func:`drop_unsupported_files` for a wire and a dialect of it."""
    dropped: list[str] = []

    def replace_unsupported(part: Part) -> Part:
        if not isinstance(part, File) or wire.accepts(part.media_type, part.data is None, dialect):
            return part
        dropped.append(_display_name(part))
        return Text(f'[the file "{_display_name(part)}" ({part.media_type}) cannot be shown to you]')

    supported = tuple(
        replace(message, parts=tuple(map(replace_unsupported, message.parts)))
        if any(isinstance(part, File) for part in message.parts)
        else message
        for message in messages
    )
    return supported, dropped


def _prepare_file(file: File, target: Target, runtime: RuntimeEnv | None) -> File:
    if file.data is None and not _is_supported(file, target):
        file = _fetch_file(file, runtime) if runtime else replace(file, url=None, data=b"")
        if not runtime and file.media_type == UNKNOWN:  # only the content would tell
            return replace(file, media_type="text/plain")
    if not _is_supported(file, target):
        raise RejectedError(
            f'{target.model or target.provider.name} does not accept {file.media_type}: "{_display_name(file)}"',
            hint="convert it to text, PDF or an image, or choose another model with -m",
            reason="unsupported_media",
        )
    return file


def _fetch_file(file: File, runtime: RuntimeEnv) -> File:
    assert file.url
    from llmctl.engine.chats import url_fetch

    fetched = url_fetch.fetch_url(file.url, runtime)
    if not fetched.data:
        raise UsageError(f'"{file.url}" is empty')
    return File(fetched.media_type, data=fetched.data, name=fetched.name, metadata={SOURCE_URL_KEY: file.url})


def _is_supported(file: File, target: Target) -> bool:
    wire = WIRES.load(target.wire)
    return wire.accepts(file.media_type, file.data is None, target.provider.dialect)


def _display_name(file: File) -> str:
    return file.name or file.url or "attachment"


def _attachment_from_url(url: str) -> File:
    try:
        parts = urlsplit(url)
        is_valid = parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(f'"{url}" is not an HTTP URL')
    if parts.username is not None:
        raise UsageError(
            f'the URL of "{parts.hostname}" contains a user name', hint="download the file and attach that"
        )
    return File(guess_from_name(parts.path), url=url, name=os.path.basename(unquote(parts.path)) or None)
