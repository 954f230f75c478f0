"""Files and URLs that somebody names, as attachments."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.media_types import by_name, media_type
from llmctl.core.messages import File

#: No provider takes more in one request, and every later turn of the chat sends it again.
_MOST_BYTES = 50_000_000


def read_file(name: str) -> File:
    """Return an attachment: a URL as it is, a file with its content.

    Raises NotFoundError, and UsageError for a file that is empty or too large.
    """
    if name.lower().startswith(("https://", "http://")):
        return _link(name)
    shown = os.path.basename(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        with open(name, "rb") as file:
            return file_of(file.read(_MOST_BYTES + 1), shown)
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error


def file_of(data: bytes, name: str | None = None) -> File:
    """Return an attachment of these bytes; those without a name came by stdin."""
    what = f'"{name}"' if name else "standard input"
    if not data:
        raise UsageError(f"{what} is empty: there is nothing to attach")
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{what} is larger than {_MOST_BYTES // 1_000_000} MB", reason="too_large")
    return File(media_type(name or "", data), data=data, name=name)


def _link(url: str) -> File:
    try:
        parts = urlsplit(url)
        known = parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(f'"{url}" is no http address')
    if parts.username is not None:
        raise UsageError(f'the URL of "{parts.hostname}" holds a user name', hint="download it and give the file")
    return File(by_name(parts.path), url=url, name=os.path.basename(unquote(parts.path)) or None)
