"""Write files atomically: completely or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from llmctl.core.errors import LlmctlError, UsageError


def require_writable_path(path: str) -> None:
    """Raise UsageError for a path that cannot be written, before any work is done."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f'cannot write "{path}": folder does not exist')
    if os.path.isdir(path):
        raise UsageError(f'cannot write "{path}": it is a folder')


def write_file(path: str, text: str | bytes | Iterable[str], *, private: bool = False) -> None:
    """Write a temporary file next to ``path`` and rename it; raises LlmctlError if that fails.

    An existing file keeps its mode and a symbolic link stays; a device or pipe is written to, never replaced.
    ``private`` sets mode 0600. Text may be an iterable of chunks and is encoded as UTF-8; bytes are written as is.
    """
    chunks: Iterable[str | bytes] = (text,) if isinstance(text, str | bytes) else text
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.writelines(map(_encode, chunks))
        else:
            _replace_file(os.path.realpath(path), chunks, 0o600 if private else None)
    except OSError as error:
        raise LlmctlError(f'cannot write "{path}": {error.strerror}', reason="output") from error


def _opener(mode: int | None) -> Callable[[str, int], int] | None:
    return None if mode is None else lambda path, flags: os.open(path, flags, mode)


def _encode(chunk: str | bytes) -> bytes:
    return chunk if isinstance(chunk, bytes) else chunk.encode("utf-8", "backslashreplace")


def _replace_file(path: str, chunks: Iterable[str | bytes], mode: int | None) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb", opener=_opener(mode)) as file:
            file.writelines(map(_encode, chunks))
            file.flush()
            os.fsync(file.fileno())
        if mode is None:
            with suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
