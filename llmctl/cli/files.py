"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress

from llmctl.core.errors import UsageError


def write_whole(path: str, text: str) -> None:
    """Write a temporary file beside ``path`` and rename it; raises UsageError where that is not possible."""
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise UsageError(f'cannot write "{path}": {error.strerror}') from error
