"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from llmctl.core.errors import LlmctlError, UsageError


def check_place(path: str) -> None:
    """Raise UsageError where a file cannot be put, before anything is done for it."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f'cannot write "{path}": no such folder')
    if os.path.isdir(path):
        raise UsageError(f'cannot write "{path}": it is a folder')


def write_whole(path: str, text: str | bytes | Iterable[str], *, private: bool = False) -> None:
    """Write a temporary file beside ``path`` and rename it; raises LlmctlError where that is not possible.

    An existing file keeps its mode, a link its place; a device or a pipe is written to, never replaced. What is
    ``private`` is the user's alone, whatever was there before. The text may come in pieces; bytes stay as they are.
    """
    pieces: Iterable[str | bytes] = (text,) if isinstance(text, str | bytes) else text
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.writelines(map(_encoded, pieces))
        else:
            _replace(os.path.realpath(path), pieces, 0o600 if private else None)
    except OSError as error:
        raise LlmctlError(f'cannot write "{path}": {error.strerror}', reason="output") from error


def _opener(mode: int | None) -> Callable[[str, int], int] | None:
    return None if mode is None else lambda path, flags: os.open(path, flags, mode)


def _encoded(piece: str | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.encode("utf-8", "backslashreplace")


def _replace(path: str, pieces: Iterable[str | bytes], mode: int | None) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "wb", opener=_opener(mode)) as file:
            file.writelines(map(_encoded, pieces))
            file.flush()
            os.fsync(file.fileno())
        if mode is None:
            with suppress(FileNotFoundError):
                os.chmod(draft, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
