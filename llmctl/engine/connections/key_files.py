"""Keys in files: ours, which nobody else can read, and whichever the user names."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from llmctl.core.errors import ConfigError, StorageError
from llmctl.core.ids import new_id

#: A key is a line; nobody means to send a whole disk.
_MOST_BYTES = 65536


def checked(value: str, what: str = "the key") -> str:
    """Return a key that an HTTP header can carry; raise ConfigError, without the value, for any other."""
    if not value.strip():
        raise ConfigError(f"{what} is empty")
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"{what} has line breaks, control characters or letters beyond ASCII",
            hint="was something else pasted with it?",
        )
    return value


def read(path: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the first line of a file, and a note where others can read it. ``~/`` is the home folder."""
    full = os.path.join(home, path[2:]) if path.startswith("~/") else path
    try:
        with open(full, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.readline(_MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f'cannot read the key file "{full}": {_why(error)}', reason="no_key") from None
    shared = stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    note = f'the key file "{full}" can be read by others: chmod 600 "{full}"' if shared else None
    return line.strip(), note


def store_key_file(folder: str, name: str, value: str) -> str:
    """Write a key into a file that only its owner can read, whole or not at all; return the path.

    ``folder`` is made when it is missing, and closed to others. Raises ConfigError for a value that is no key,
    StorageError where it cannot be written.
    """
    key = checked(value)
    path = os.path.join(folder, _file_name(name))
    temporary = f"{path}.{new_id()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        _write_new(temporary, f"{key}\n".encode())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f'cannot write the key file "{path}": {_why(error)}') from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return path


def _write_new(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # whatever the umask says
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _file_name(name: str) -> str:
    """Return a file name of its own for any name of a connection."""
    quoted = quote(name, safe=" @+=,")
    if not quoted:
        raise ConfigError("a key file needs a name")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "unknown reason").lower()
    return "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
