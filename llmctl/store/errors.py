"""What SQLite says, in the user's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from llmctl.core.errors import LlmctlError, StorageError


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors about the file into :class:`StorageError`; others pass (they are bugs of ours)."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise translated(error, path) from error


def translated(error: sqlite3.DatabaseError, path: str) -> LlmctlError | sqlite3.DatabaseError:
    """Return the StorageError for an error about the file, or the error itself."""
    text = str(error)
    if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE":  # no room for the log's index
        text = "database or disk is full"
    for part, message, hint, reason in _WORDS:
        if part in text:
            return StorageError(message.format(path=path), hint=hint.format(path=path), reason=reason)
    return error


_WORDS = (
    (
        "database or disk is full",
        'the disk is full: "{path}"',
        "free some space; nothing in the hub was damaged",
        "disk_full",
    ),
    (
        "readonly database",
        'the hub "{path}" is read-only',
        "check the file, its folder and the file system, or use --db",
        "read_only",
    ),
    (
        "database is locked",
        'the hub "{path}" is locked by another program',
        "close what holds it (a database browser, say) and try again",
        "busy",
    ),
    (
        "file is not a database",
        '"{path}" is not a SQLite database',
        "choose another file with --db or LLMCTL_DB",
        "not_a_hub",
    ),
    (
        "malformed",
        'the hub "{path}" is damaged',
        "restore a backup with: llmctl db restore FILE; or try: sqlite3 {path} .recover",
        "corrupt",
    ),
    (
        "unable to open database file",
        'cannot open the hub "{path}"',
        "check that its folder exists and may be read",
        "cannot_open",
    ),
    (
        "disk I/O error",
        'cannot read or write the hub "{path}": disk error',
        "check the disk and the space on it",
        "io_error",
    ),
    (
        "attempt to write",
        'the hub "{path}" is read-only',
        "check the file, its folder and the file system, or use --db",
        "read_only",
    ),
)
