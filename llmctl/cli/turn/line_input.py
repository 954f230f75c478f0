"""What is entered in the interactive chat, and plain line input for where no line editor can run.

What arrives together is one message: after a line is read, whatever is already waiting belongs to it. A terminal that
marks pastes (``ESC [200~`` to ``ESC [201~``) is believed.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import AbstractContextManager
from select import select
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from llmctl.cli.console.terminal import change_terminal, safe_text

if TYPE_CHECKING:
    from llmctl.cli.console.console import Streams

PROMPT = "> "
_CONTINUATION_PROMPT = "… "
#: What terminals write around a paste.
_PASTE_START, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
#: How long after a line more may arrive with it: a moment after one that was typed, longer within a paste.
PASTE_START_S, PASTE_GAP_S = 0.03, 0.2
_CHUNK_BYTES = 65536


class Entry(NamedTuple):
    """What the user entered."""

    text: str
    #: Text that begins with a paste is never a command.
    is_pasted: bool = False
    #: The files that typed text attaches, as ``@path``.
    mentions: tuple[str, ...] = ()

    @classmethod
    def from_text(cls, text: str, is_pasted: bool, *, typed: str) -> Entry:
        """Return an entry; ``typed`` is its text without pastes."""
        return cls(text, is_pasted, tuple(find_mentions(typed)))


class Candidate(NamedTuple):
    """A completion: what it inserts, how many characters before the cursor it replaces, and what it is."""

    text: str
    replaces: int
    description: str = ""


class LineInput:
    """Reads messages from standard input, a line or a paste at a time."""

    def __init__(self, io: Streams) -> None:
        self._io = io
        self._waiting = b""
        self._is_at_end = False

    def read_entry(self) -> Entry:
        """Return the next entry; raise EOFError at the end of input. A ``\\`` at the end of a line continues it."""
        entry = self._read(PROMPT)
        while entry.text.endswith("\\") and not entry.is_pasted:
            more = self._read(_CONTINUATION_PROMPT)
            text = f"{entry.text[:-1]}\n{more.text}"
            entry = Entry(text, more.is_pasted, (*entry.mentions, *more.mentions))
        return entry

    def hold_typing(self) -> AbstractContextManager[None]:
        """Return a block in which what is typed is not shown; it is for the next entry."""
        return change_terminal(self._io.stdin_fd, off=("ECHO",))

    def close(self) -> None:
        """Leave the terminal as it is."""

    def _read(self, prompt: str) -> Entry:
        self._io.write(prompt)
        self._io.flush()
        was_typed_unseen = self._io.stdin_tty and self._has_more(0.0)
        data = self._read_bytes()
        if was_typed_unseen:
            self._io.write_stderr(safe_text(data.decode("utf-8", "replace")))
        lines = data.replace(b"\r\n", b"\n").rstrip(b"\n")
        is_marked = lines.startswith(_PASTE_START)
        text = lines.replace(_PASTE_START, b"").replace(_PASTE_END, b"").decode("utf-8", "replace")
        is_pasted = is_marked or "\n" in text
        return Entry.from_text(text.rstrip("\n"), is_pasted, typed="" if is_pasted else text)

    def _read_bytes(self) -> bytes:
        """Return a line with everything that arrives with it."""
        self._waiting = b""  # left by a signal: the terminal has dropped the rest of the line, too
        while not (self._is_at_end or b"\n" in self._waiting):
            self._read_more()
        while not self._is_at_end and self._has_more(PASTE_GAP_S if self._has_lines() else PASTE_START_S):
            self._read_more()
        self._read_unended_line()
        while not (self._is_at_end or self._is_whole()):
            self._read_more()
        if not self._waiting:
            raise EOFError
        return self._waiting

    def _has_lines(self) -> bool:
        return b"\n" in self._waiting.rstrip(b"\n")

    def _is_whole(self) -> bool:
        is_paste_open = self._waiting.count(_PASTE_START) > self._waiting.count(_PASTE_END)
        return self._waiting.endswith(b"\n") and not is_paste_open

    def _read_unended_line(self) -> None:
        """Read what a terminal holds back until Enter: the last line of a paste that ends without a newline."""
        if self._io.stdin_tty and not self._is_at_end:
            with change_terminal(self._io.stdin_fd, off=("ICANON",)):
                while not self._is_at_end and self._has_more(0.0):
                    self._read_more()

    def _has_more(self, seconds: float | None) -> bool:
        fd = self._io.stdin_fd
        return fd is None or bool(select([fd], [], [], seconds)[0])

    def _read_more(self) -> None:
        fd = self._io.stdin_fd
        try:
            piece = self._io.stdin.buffer.read() if fd is None else os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:  # another process made the pipe non-blocking
            self._has_more(None)
            return
        self._waiting += piece
        self._is_at_end = not piece


# --- files in what is entered

#: ``@path`` at the beginning of a word; a path with spaces stands in double quotes, or has backslashes before them.
_MENTION = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|((?:\\.|[^\s\\])+))')
_MAX_DROPPED_CHARS = 4096


def find_mentions(text: str) -> list[str]:
    """Return the paths and URLs that a text attaches: ``@name`` is one only where a file or folder of that name is."""
    return [path for match in _MENTION.finditer(text) if (path := _find_path(match[1] or unescape_path(match[2])))]


def format_mention(path: str) -> str:
    """Return a path as :func:`find_mentions` reads it."""
    return f'@"{path}"' if re.search(r"[\s\\]", path) else f"@{path}"


def unescape_path(text: str) -> str:
    """Return a path without the backslashes before its spaces."""
    return re.sub(r"\\(.)", r"\1", text)


def find_dropped_paths(text: str) -> list[str]:
    """Return the files of a paste that is nothing but their absolute paths: terminals send that for a dragged file."""
    if len(text) > _MAX_DROPPED_CHARS or not text.lstrip().startswith(("/", "'/", '"/', "file:///")):
        return []
    try:
        words = shlex.split(text)
    except ValueError:  # a quote is open
        return []
    paths = [unquote(urlsplit(word).path) if word.startswith("file://") else word for word in words]
    is_dropped = all(path.startswith("/") and path.strip("/") and os.path.exists(path) for path in paths)
    return paths if is_dropped else []


def _find_path(name: str) -> str | None:
    """Return the path or URL of a mention, without punctuation behind it; None if there is no such file."""
    if name.startswith(("https://", "http://")):
        return name
    for candidate in (name, name.rstrip(".,;:!?)")):
        path = os.path.expanduser(candidate)
        if path and os.path.exists(path):
            return path
    return None
