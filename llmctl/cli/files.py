"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from llmctl.core.errors import LlmctlError, UsageError


def check_place(path: str) -> None:
    """Raise UsageError where a file cannot be put, before anything is done for it."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f'cannot write "{path}": no such folder')
    if os.path.isdir(path):
        raise UsageError(f'cannot write "{path}": it is a folder')


def write_whole(path: str, text: str) -> None:
    """Write a temporary file beside ``path`` and rename it; raises LlmctlError where that is not possible.

    An existing file keeps its mode, a link its place; a device or a pipe is written to, never replaced.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        else:
            _replace(os.path.realpath(path), text)
    except OSError as error:
        raise LlmctlError(f'cannot write "{path}": {error.strerror}', reason="output") from error


def _replace(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(draft, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
