"""Translate SQLite's errors to StorageError."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from llmctl.core.errors import LlmctlError, StorageError


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Translate SQLite's errors about the file to :class:`StorageError`; others pass: they are bugs."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise translate_error(error, path) from error


def translate_error(error: sqlite3.DatabaseError, path: str) -> LlmctlError | sqlite3.DatabaseError:
    """Return the StorageError for an error about the file, or the error unchanged."""
    text = str(error)
    if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE":  # no space for the WAL index
        text = "database or disk is full"
    for part, message, hint, reason in _TRANSLATIONS:
        if part in text:
            return StorageError(message.format(path=path), hint=hint.format(path=path), reason=reason)
    return error


_TRANSLATIONS = (
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
        "close the program that locks it, such as a database browser, and try again",
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
        "check that its folder exists and is readable",
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
