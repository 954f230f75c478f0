"""Decide whether to read stdin, and read it: rules that make llmctl safe in pipes, loops, hooks and cron."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llmctl.cli.console.io import Streams
from llmctl.core.errors import UsageError
from llmctl.core.settings import is_switch_on

NoteCallback = Callable[[str], None]

_WAITING_NOTE_AFTER_S = 3.0
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))

_PARTLY_READ_NOTE = (
    "not reading standard input: another process has read part of it; pass - to read the rest, --no-stdin to hide this"
)
_SHARED_NOTE = "reading standard input that is shared with the calling shell; pass - if intended, --no-stdin if not"
_WAITING_NOTE = "waiting for standard input; to skip it use --no-stdin, </dev/null or ssh -n"


def read_prompt(
    words: Sequence[str],
    *,
    io: Streams,
    env: Mapping[str, str],
    note: NoteCallback,
    stdin: bool | None = None,
    note_after_s: float = _WAITING_NOTE_AFTER_S,
) -> str | None:
    """Return the words, a blank line and stdin; None if all of it is empty.

    ``-`` among the words forces reading stdin, like ``--stdin`` (``stdin=True``). ``note`` is called with notes for
    the user. Trailing newlines of stdin are dropped, as ``$(...)`` does.
    """
    is_explicit = "-" in words
    argument_text = replace_invalid_utf8(" ".join(word for word in words if word != "-"), "an argument", note)
    if is_explicit and stdin is False:
        raise UsageError('"-" and --no-stdin cannot be combined', hint="pass one of them")
    text = ""
    if is_explicit or _should_read(io, env, stdin, note):
        text = read_text(io, note, note_after_s=note_after_s).rstrip("\r\n")
    return "\n\n".join(piece for piece in (argument_text, text) if piece.strip()) or None


def read_text(io: Streams, note: NoteCallback, *, note_after_s: float = _WAITING_NOTE_AFTER_S) -> str:
    """Read all of stdin. Invalid UTF-8 becomes U+FFFD with a note; a NUL byte is a :class:`UsageError`."""
    return _decode(read_bytes(io, note, note_after_s=note_after_s), note)


def read_bytes(io: Streams, note: NoteCallback, *, note_after_s: float = _WAITING_NOTE_AFTER_S) -> bytes:
    """Read all of stdin as bytes."""
    try:
        data: bytes = io.stdin.buffer.read() if io.stdin_fd is None else _read_all(io, note, note_after_s)
    except OSError as error:
        raise UsageError(f"cannot read standard input: {error.strerror or error}") from error
    return data


def replace_invalid_utf8(text: str, source: str, note: NoteCallback) -> str:
    """Replace invalid UTF-8 in an argument with U+FFFD, with a note if there was any."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    note(f"{source} is not valid UTF-8; invalid bytes were replaced with U+FFFD")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _should_read(io: Streams, env: Mapping[str, str], stdin: bool | None, note: NoteCallback) -> bool:
    if stdin is not None:
        return stdin
    if is_switch_on(env, "LLMCTL_NO_STDIN"):
        return False
    match _stdin_kind(io):
        case "file" if _is_partly_read(io.stdin_fd):
            note(_PARTLY_READ_NOTE)
            return False
        case "pipe" if _is_shared(io.stdin_fd):
            note(_SHARED_NOTE)
            return True
        case kind:
            return kind != "other"


def _stdin_kind(io: Streams) -> Literal["file", "pipe", "other"]:
    if io.stdin_fd is None:
        return "other" if io.stdin_tty else "pipe"
    mode = os.fstat(io.stdin_fd).st_mode
    if stat.S_ISREG(mode):
        return "file"
    return "pipe" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "other"


def _is_partly_read(fd: int | None) -> bool:
    return fd is not None and os.lseek(fd, 0, os.SEEK_CUR) > 0


def _is_shared(fd: int | None) -> bool:
    """Return whether the parent is a shell with the same pipe as stdin: a loop, hook or script. Linux only."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip().lstrip("-")
        return name in _SHELLS and os.readlink(f"/proc/{parent}/fd/0") == os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False


def _read_all(io: Streams, note: NoteCallback, note_after_s: float) -> bytes:
    from select import select  # imported only when stdin is read

    fd = io.stdin_fd
    assert fd is not None
    if not io.stdin_tty and not select([fd], [], [], note_after_s)[0]:
        note(_WAITING_NOTE)
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:  # another process made the pipe non-blocking
            select([fd], [], [])
            continue
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _decode(data: bytes, note: NoteCallback) -> str:
    if b"\0" in data:
        raise UsageError(
            "standard input is not text: it contains NUL bytes",
            hint="attach a binary file with --attach PATH, or convert UTF-16 with iconv",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        note("standard input is not valid UTF-8; invalid bytes were replaced with U+FFFD")
        return data.decode("utf-8", "replace")
