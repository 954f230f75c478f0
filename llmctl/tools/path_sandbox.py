"""Read files inside allowed folders only: ``..``, links and devices do not lead out of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

from llmctl.core.errors import DeniedError, LlmctlError, NotFoundError, RejectedError

#: Limit of a listing: a narrower question helps a model more than a longer list.
_MAX_ENTRIES = 1_000

#: Exposes the environment of this process, and with it keys.
_PROCESSES = "/proc"


class PathSandbox:
    """Allowed folders, and private paths in them that are refused."""

    def __init__(self, folders: Iterable[str], base: str, private: Sequence[str] = ()) -> None:
        self._base = os.path.realpath(base)
        self._folders = [os.path.realpath(os.path.join(self._base, os.path.expanduser(folder))) for folder in folders]
        self._private = private

    def resolve(self, path: str) -> str:
        """Return the real path; a relative path starts at the first folder. Raises DeniedError for a path outside."""
        if "\0" in path:
            raise NotFoundError("a path cannot contain a NUL byte")
        real = os.path.realpath(os.path.join(self._folders[0], path))
        self._require_allowed(real, path)
        return real

    def read_file(self, path: str, max_bytes: int) -> bytes:
        """Return the first ``max_bytes`` of a regular file, and one more byte if there is more."""
        real = self.resolve(path)
        try:
            # NONBLOCK: opening a pipe would block until it has a writer.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _read_error(path, error) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RejectedError(f'"{path}" is not a regular file')
            self._require_allowed_descriptor(descriptor, path)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(max_bytes + 1)
        finally:
            os.close(descriptor)

    def list_entries(self, path: str) -> list[str]:
        """Return the sorted names in a folder; names of folders end in ``/``."""
        real = self.resolve(path)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _read_error(path, error) from None
        try:
            self._require_allowed_descriptor(descriptor, path)
            with os.scandir(descriptor) as entries:
                names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
        finally:
            os.close(descriptor)
        names = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names]
        omitted = len(names) - _MAX_ENTRIES
        return names[:_MAX_ENTRIES] + ([f"[{omitted} more]"] if omitted > 0 else [])

    def _require_allowed(self, real: str, requested: str) -> None:
        if not any(_is_in(real, folder) for folder in self._folders):
            raise DeniedError(f'"{requested}" is outside the folders that this tool may read', reason="confined")
        if _is_in(real, _PROCESSES):
            raise DeniedError(f'"{requested}" exposes process memory and environment', reason="confined")
        if any(_belongs_to(real, private) for private in self._private):
            raise DeniedError(f'"{requested}" is a private file of llmctl', reason="confined")

    def _require_allowed_descriptor(self, descriptor: int, requested: str) -> None:
        """Check the opened file again: a folder on the way may have been replaced by a link in the meantime."""
        with suppress(OSError):
            self._require_allowed(os.readlink(f"/proc/self/fd/{descriptor}"), requested)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _belongs_to(path: str, private: str) -> bool:
    """Whether a path is private: the private path itself, something in it, or a sibling such as ``hub.db-wal``."""
    return path.startswith(private) and path[len(private) : len(private) + 1] in ("", "/", "-", ".")


def _read_error(path: str, error: OSError) -> LlmctlError:
    return NotFoundError(f'cannot read "{path}": {(error.strerror or str(error)).lower()}')
