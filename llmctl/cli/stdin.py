"""When stdin is read and what becomes of it: the rules that let llmctl stand in pipes, loops, hooks and cron."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llmctl.cli.console.io import Streams
from llmctl.core.errors import UsageError
from llmctl.core.switches import is_set

Note = Callable[[str], None]

_SILENCE_S = 3.0
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"))

_LEFT_ALONE = (
    "left standard input alone: another process has begun to read it; - reads the rest, --no-stdin silences this"
)
_SHARED = (
    "reading standard input, which the calling shell holds too; - says that it is meant, --no-stdin leaves it alone"
)
_SILENT = "waiting for standard input; if none is meant use --no-stdin, </dev/null or ssh -n"


def read_prompt(
    words: Sequence[str],
    *,
    io: Streams,
    env: Mapping[str, str],
    note: Note,
    stdin: bool | None = None,
    silence_s: float = _SILENCE_S,
) -> str | None:
    """Return the words, a blank line and stdin; None where all of it is empty.

    ``-`` among the words asks for stdin by name, as ``--stdin`` (``stdin=True``) does. ``note`` is told what the
    user should know. The newlines that end stdin are dropped, as ``$(...)`` does.
    """
    named = "-" in words
    said = clean(" ".join(word for word in words if word != "-"), "an argument", note)
    if named and stdin is False:
        raise UsageError('"-" asks for standard input and --no-stdin forbids it', hint="leave one of them out")
    text = ""
    if named or _is_wanted(io, env, stdin, note):
        text = read_text(io, note, silence_s=silence_s).rstrip("\r\n")
    return "\n\n".join(piece for piece in (said, text) if piece.strip()) or None


def read_text(io: Streams, note: Note, *, silence_s: float = _SILENCE_S) -> str:
    """Read stdin to its end. Bad UTF-8 becomes U+FFFD with a note; a NUL is a :class:`UsageError`."""
    return _decoded(read_bytes(io, note, silence_s=silence_s), note)


def read_bytes(io: Streams, note: Note, *, silence_s: float = _SILENCE_S) -> bytes:
    """Read stdin to its end, as it is."""
    try:
        data: bytes = io.stdin.buffer.read() if io.stdin_fd is None else _read_all(io, note, silence_s)
    except OSError as error:
        raise UsageError(f"cannot read standard input: {error.strerror or error}") from error
    return data


def clean(text: str, what: str, note: Note) -> str:
    """Return an argument with bytes that are no UTF-8 as U+FFFD, and a note where there were any."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    note(f"{what} is not valid UTF-8; what could not be read became U+FFFD")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_wanted(io: Streams, env: Mapping[str, str], stdin: bool | None, note: Note) -> bool:
    if stdin is not None:
        return stdin
    if is_set(env, "LLMCTL_NO_STDIN"):
        return False
    match _kind(io):
        case "file" if _is_begun(io.stdin_fd):
            note(_LEFT_ALONE)
            return False
        case "pipe" if _is_shared(io.stdin_fd):
            note(_SHARED)
            return True
        case kind:
            return kind != "other"


def _kind(io: Streams) -> Literal["file", "pipe", "other"]:
    if io.stdin_fd is None:
        return "other" if io.stdin_tty else "pipe"
    mode = os.fstat(io.stdin_fd).st_mode
    if stat.S_ISREG(mode):
        return "file"
    return "pipe" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "other"


def _is_begun(fd: int | None) -> bool:
    return fd is not None and os.lseek(fd, 0, os.SEEK_CUR) > 0


def _is_shared(fd: int | None) -> bool:
    """Tell whether the parent is a shell with the same pipe as its stdin: a loop, a hook, a script. Linux only."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip().lstrip("-")
        return name in _SHELLS and os.readlink(f"/proc/{parent}/fd/0") == os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False


def _read_all(io: Streams, note: Note, silence_s: float) -> bytes:
    from select import select  # only those who read stdin pay for it

    fd = io.stdin_fd
    assert fd is not None
    if not io.stdin_tty and not select([fd], [], [], silence_s)[0]:
        note(_SILENT)
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(fd, 1 << 16)
        except BlockingIOError:  # someone made the pipe non-blocking
            select([fd], [], [])
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _decoded(data: bytes, note: Note) -> str:
    if b"\0" in data:
        raise UsageError(
            "standard input holds NUL bytes: it is no text",
            hint="attach a binary file with --attach PATH, or convert UTF-16 with iconv",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        note("standard input is not valid UTF-8; what could not be read became U+FFFD")
        return data.decode("utf-8", "replace")
