"""The console of a run: the standard streams, what is read from stdin, notes on stderr, the output format.

Reading stdin follows rules that make llmctl safe in pipes, loops, hooks and cron.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, TypeVar

from llmctl.core.environment import is_switch_on
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.signals import Signalled

if TYPE_CHECKING:
    from llmctl.cli.console.pager import Pager

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

#: Attribute of a command function: the kind of output flags it takes.
OUTPUT_FLAGS_ATTRIBUTE = "__output__"


class Console:
    """What a run is shown on: streams, output format and notes."""

    def __init__(self, env: Mapping[str, str], io: Streams) -> None:
        self.env = env
        self.io = io
        #: Set by ``--quiet`` and ``--no-pager``.
        self.quiet = False
        self.no_pager = False
        #: Set by ``--json --jsonl --csv --tsv --columns``.
        self.format = OutputFormat()
        self._shown_notes: set[str] = set()
        self._footer: list[str] = []

    @property
    def shows_table(self) -> bool:
        """Whether lists are tables for people: on a terminal, unless a flag asks for another format."""
        return self.io.stdout_tty and self.format.kind == "auto"

    def use_pager(self) -> None:
        """Show what is written from here on in the user's pager, if stdout is a terminal."""
        if self.io.stdout_tty and not self.no_pager:
            from llmctl.cli.console.pager import find_pager

            self.io.start_pager = find_pager(self.env, self.io.stdout)

    def note(self, text: str) -> None:
        """Print a note to stderr, unless ``--quiet``."""
        if not self.quiet:
            self.write_stderr_line(f"llmctl: {text}")

    def note_once(self, text: str) -> None:
        """Print a note once per run."""
        if text not in self._shown_notes:
            self._shown_notes.add(text)
            self.note(text)

    def add_footer(self, line: str) -> None:
        """Keep a line for stderr that follows the error with which the command is about to end."""
        self._footer.append(line)

    def write_footer(self) -> None:
        """Write the lines that follow an error."""
        lines, self._footer = self._footer, []
        for line in lines:
            self.write_stderr_line(line)

    def write_stderr_line(self, text: str) -> None:
        """Write a line to stderr, with terminal escapes neutralized."""
        if self.io.stderr_tty:
            from llmctl.cli.console.terminal import safe_text

            text = safe_text(text)
        self.io.write_stderr(text + "\n")


class OutputFormat:
    """The output format; ``auto`` is a table on a terminal and plain lines elsewhere."""

    def __init__(self, kind: str = "auto", columns: tuple[str, ...] | None = None) -> None:
        self.kind = kind
        self.columns = columns

    @property
    def is_json(self) -> bool:
        return self.kind in ("json", "jsonl")


def list_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of a list: ``--json --jsonl --csv --tsv --columns``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "listing"
    return command


def record_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of a record: ``--json --jsonl --columns``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "record"
    return command


def answer_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of an answer: ``--json --jsonl``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "answer"
    return command


class Transient(Protocol):
    """What stands on the terminal for now: it is erased before anything else is written."""

    def hide(self) -> None: ...


class Streams:
    """stdin, stdout and stderr with their properties. Commands write through this, never with ``print``."""

    def __init__(self, stdin: Any, stdout: TextIO, stderr: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        #: None if stdin has no file descriptor (in tests).
        self.stdin_fd = _find_descriptor(stdin)
        self.stdin_tty: bool = stdin.isatty()
        self.stdout_tty: bool = stdout.isatty()
        self.stderr_tty: bool = stderr.isatty()
        self.transient: Transient | None = None
        #: Starts the pager that stdout goes to, with the first write; None without one.
        self.start_pager: Callable[[], Pager] | None = None
        self._pager: Pager | None = None
        #: What stderr gets when the pager, which draws the screen, has ended.
        self._held: list[str] = []

    def write(self, text: str) -> None:
        """Write to stdout. A closed pipe raises :class:`Signalled` (SIGPIPE); other failures are errors (exit 1).

        A pager that the user has left ends the run: exit 0.
        """
        self._hide_transient()
        if self.start_pager is not None:
            self._write_paged(text.encode("utf-8", "backslashreplace"))
            return
        try:
            self.stdout.write(text)
        except OSError as error:
            raise _write_error(error) from error

    def flush(self) -> None:
        """Flush stdout; fails like :meth:`write`."""
        try:
            self.stdout.flush()
        except OSError as error:
            raise _write_error(error) from error

    def write_bytes(self, data: bytes) -> None:
        """Write bytes to stdout."""
        self._hide_transient()
        if self.start_pager is not None:
            self._write_paged(data)
            return
        self.flush()
        try:
            self.stdout.buffer.write(data)
        except OSError as error:
            raise _write_error(error) from error

    def write_stderr_bytes(self, data: bytes) -> None:
        """Write bytes to stderr; failures are ignored."""
        self._hide_transient()
        with suppress(OSError):
            self.stderr.flush()
            self.stderr.buffer.write(data)
            self.stderr.flush()

    def write_stderr(self, text: str) -> None:
        """Write to stderr; failures are ignored, there is nowhere to report them."""
        self._hide_transient()
        if self._pager is not None:
            self._held.append(text)
            return
        with suppress(OSError):
            self.stderr.write(text)
            self.stderr.flush()

    def _hide_transient(self) -> None:
        if self.transient is not None:
            self.transient.hide()

    def _write_paged(self, data: bytes) -> None:
        assert self.start_pager is not None
        if self._pager is None:
            self.flush()
            self._pager = self.start_pager()
        if not self._pager.write(data):
            raise SystemExit(0)

    def close_pager(self) -> None:
        """Wait for the pager, if there is one; then write what was held back."""
        pager, self._pager, self.start_pager = self._pager, None, None
        if pager is None:
            return
        if unseen := pager.close():
            self.write_bytes(unseen)
            self.flush()
        self.write_stderr("".join(self._held))
        self._held.clear()


def process_streams() -> Streams:
    """Return the streams of this process, set to UTF-8, with descriptors 0 to 2 all open.

    The next file opened would get a free descriptor: output for stdout would be written into the hub.
    """
    _open_missing_descriptors()
    sys.stdin = sys.stdin or _open_descriptor(0, "r")
    sys.stdout = _configure_output(sys.stdout or _open_descriptor(1, "w"))
    sys.stderr = _configure_output(sys.stderr or _open_descriptor(2, "w"))
    return Streams(sys.stdin, sys.stdout, sys.stderr)


def _open_missing_descriptors() -> None:
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # stdout is opened read-only, so that writing to it still fails.
            os.open(os.devnull, os.O_RDWR if fd == 2 else os.O_RDONLY)


def _open_descriptor(fd: int, mode: str) -> Any:
    return open(fd, mode, encoding="utf-8", closefd=False)


def _configure_output(stream: Any) -> Any:
    """Set an output stream to UTF-8 and blocking: Node passes non-blocking pipes, and writing to a full one fails."""
    fd = _find_descriptor(stream)
    if fd is not None and not os.get_blocking(fd):
        os.set_blocking(fd, True)
    # backslashreplace: a lone surrogate, which UTF-8 cannot encode, stays readable (and is valid in JSON).
    stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _write_error(error: OSError) -> BaseException:
    if isinstance(error, BrokenPipeError):
        return Signalled(signal.SIGPIPE)
    return LlmctlError(f"cannot write to standard output: {error.strerror or error}", reason="output")


def _find_descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None


# --- standard input

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
