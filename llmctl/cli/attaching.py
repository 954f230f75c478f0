"""What ``--attach`` names: files, URLs and standard input."""

from __future__ import annotations

import os

from llmctl.cli.app import App
from llmctl.core.errors import NotFoundError
from llmctl.core.mediatypes import media_type
from llmctl.core.messages import File


def files(app: App) -> tuple[tuple[str, ...], bool]:
    """Return the attachments that are named, without ``-``, and whether ``-`` is among them."""
    named = tuple(app.asking["attach"])
    return tuple(name for name in named if name != "-"), "-" in named


def read_file(name: str) -> File:
    """Return an attachment: a URL as it is, a file with its content. Raises NotFoundError."""
    if name.startswith(("https://", "http://")):
        return File(media_type(name, b""), url=name, name=os.path.basename(name))
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error
    shown = os.path.basename(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return File(media_type(shown, data), data=data, name=shown)


def file_of(data: bytes) -> File:
    """Return an attachment that came by stdin."""
    return File(media_type("", data), data=data, name=None)
