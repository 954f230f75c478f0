"""Files inside allowed folders, whatever path is asked for: ``..``, links and devices lead nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

from llmctl.core.errors import DeniedError, LlmctlError, NotFoundError, RejectedError

#: Entries of a listing; a model does better with a narrower question than with more.
_MOST_ENTRIES = 1_000

#: Our environment, and with it keys, can be read here.
_PROCESSES = "/proc"


class Confinement:
    """Some folders, and what in them is nobody's business."""

    def __init__(self, folders: Iterable[str], base: str, private: Sequence[str] = ()) -> None:
        self._base = os.path.realpath(base)
        self._folders = [os.path.realpath(os.path.join(self._base, os.path.expanduser(one))) for one in folders]
        self._private = private

    def resolve(self, path: str) -> str:
        """Return the real path; a relative one is looked up in the first folder. Raises DeniedError for one outside."""
        if "\0" in path:
            raise NotFoundError("a path holds no NUL byte")
        real = os.path.realpath(os.path.join(self._folders[0], path))
        self._require(real, path)
        return real

    def read(self, path: str, most_bytes: int) -> bytes:
        """Return the beginning of a regular file: one byte more than allowed tells that there is more."""
        real = self.resolve(path)
        try:
            # NONBLOCK: opening a pipe would wait for its writer.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RejectedError(f'"{path}" is no regular file')
            self._require_opened(descriptor, path)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(most_bytes + 1)
        finally:
            os.close(descriptor)

    def entries(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; folders end in ``/``."""
        real = self.resolve(path)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            self._require_opened(descriptor, path)
            with os.scandir(descriptor) as found:
                names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)
        finally:
            os.close(descriptor)
        names = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names]
        more = len(names) - _MOST_ENTRIES
        return names[:_MOST_ENTRIES] + ([f"[{more} more]"] if more > 0 else [])

    def _require(self, real: str, asked: str) -> None:
        if not any(_is_in(real, folder) for folder in self._folders):
            raise DeniedError(f'"{asked}" is outside of the folders that this tool may read', reason="confined")
        if _is_in(real, _PROCESSES):
            raise DeniedError(f'"{asked}" shows what processes know, this one too', reason="confined")
        if any(_belongs_to(real, private) for private in self._private):
            raise DeniedError(f'"{asked}" belongs to llmctl itself', reason="confined")

    def _require_opened(self, descriptor: int, asked: str) -> None:
        """Look again at what was opened: a folder on the way may have become a link meanwhile."""
        with suppress(OSError):
            self._require(os.readlink(f"/proc/self/fd/{descriptor}"), asked)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _belongs_to(path: str, private: str) -> bool:
    """Say whether a path is a private one, in it, or a companion or copy beside it: ``hub.db-wal``, ``hub.db.bak``."""
    return path.startswith(private) and path[len(private) : len(private) + 1] in ("", "/", "-", ".")


def _unreadable(path: str, error: OSError) -> LlmctlError:
    return NotFoundError(f'cannot read "{path}": {(error.strerror or str(error)).lower()}')
