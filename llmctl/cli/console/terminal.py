"""Text on a terminal: neutralized escapes, display width, color; and how a terminal takes what is typed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

#: Control characters are made visible: C0 as control pictures, C1 and bidirectional overrides as U+FFFD.
_VISIBLE_CONTROLS = (
    {code: 0x2400 + code for code in range(0x20)}
    | {0x7F: 0x2421}
    | dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
)
_TEXT_ESCAPES = {code: shown for code, shown in _VISIBLE_CONTROLS.items() if code not in (0x09, 0x0A)}
_LINE_ESCAPES = _VISIBLE_CONTROLS | {0x09: " ", 0x0A: " ", 0x0D: None}

_JSON_ESCAPES = {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}

#: Around words that are highlighted: they take no room, and become a color, or nothing.
HIGHLIGHT_MARKS = ("\x02", "\x03")
_NO_MARKS = dict.fromkeys(map(ord, HIGHLIGHT_MARKS))

_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def safe_text(text: str) -> str:
    """Neutralize terminal escapes; newlines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_TEXT_ESCAPES)


def safe_json(text: str) -> str:
    """Escape the C1 controls that JSON allows unescaped; the value stays the same."""
    return text.translate(_JSON_ESCAPES)


def safe_line(text: str) -> str:
    """Neutralize terminal escapes and join the lines."""
    return text.translate(_LINE_ESCAPES)


def supports_color(env: Mapping[str, str], is_terminal: bool) -> bool:
    """Return whether to use color: a capable terminal and no ``NO_COLOR`` (https://no-color.org)."""
    return is_terminal and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def colorize(text: str, color: str) -> str:
    """Return text in a color; empty text stays empty."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if text else text


def safe_snippet(text: str) -> str:
    """Neutralize terminal escapes like :func:`safe_line`; the marks of highlighted words stay."""
    on, off = HIGHLIGHT_MARKS
    return on.join(off.join(map(safe_line, piece.split(off))) for piece in text.split(on))


def highlight(text: str, color: str | None) -> str:
    """Return text with its marked words in a color; with None it only loses the marks."""
    if color is None:
        return text.translate(_NO_MARKS)
    on, off = HIGHLIGHT_MARKS
    is_open = text.rfind(on) > text.rfind(off)  # the end was cut off
    return (text + off * is_open).replace(on, f"\x1b[{_COLORS[color]}m").replace(off, "\x1b[0m")


def show_match(text: str, cells: int) -> str:
    """Truncate a snippet so that its first marked word is in what is left."""
    at = text.find(HIGHLIGHT_MARKS[0])
    if display_width(text) > cells and display_width(text[:at]) > cells // 2:
        start = max(0, at - cells // 3)
        text = "…" + text[max(start, text.find(" ", start, at)) :].lstrip()
    return truncate(text, cells)


def terminal_width(env: Mapping[str, str], stream: Any) -> int:
    """Return the terminal width of a stream: ``COLUMNS``, the terminal's own size, or 80."""
    if env.get("COLUMNS", "").isdecimal() and int(env["COLUMNS"]) > 0:
        return int(env["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def display_width(text: str) -> int:
    """Return how many terminal cells a text takes."""
    if HIGHLIGHT_MARKS[0] in text:
        text = text.translate(_NO_MARKS)
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # only for non-ASCII text

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def truncate(text: str, cells: int) -> str:
    """Truncate a text to a number of terminal cells, ending in ``…``."""
    if display_width(text) <= cells:
        return text
    while text and display_width(text) > cells - 1:
        text = text[: min(len(text) - 1, cells - 1)]
    return text.rstrip() + "…"


#: Flags of a terminal, and where ``termios.tcgetattr`` has them: ICRNL turns Enter into a newline, ECHO shows what is
#: typed, ICANON holds a line back until it is ended.
_TERMINAL_FLAGS = {"ICRNL": 0, "ECHO": 3, "ICANON": 3}


@contextmanager
def change_terminal(
    fd: int | None, *, on: Sequence[str] = (), off: Sequence[str] = (), drop: bool = False
) -> Iterator[None]:
    """Set flags of a terminal within a block, ``ICRNL``, ``ECHO`` or ``ICANON``; None and other files are left alone.

    ``drop``: where this changes anything, forget what was typed before. Ctrl-C and Ctrl-Z keep their meaning. A shell
    that Ctrl-Z led to has its own settings, so these are applied again when the process goes on.
    """
    if fd is None or not os.isatty(fd):
        yield
        return
    import termios  # only where a terminal is

    before, changed = termios.tcgetattr(fd), termios.tcgetattr(fd)
    for name in on:
        changed[_TERMINAL_FLAGS[name]] |= getattr(termios, name)
    for name in off:
        changed[_TERMINAL_FLAGS[name]] &= ~getattr(termios, name)

    def apply(when: int = termios.TCSANOW) -> None:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, when, changed)

    is_main = threading.current_thread() is threading.main_thread()
    before_continue = signal.signal(signal.SIGCONT, lambda *_: apply()) if is_main else None
    try:
        if changed != before:
            apply(termios.TCSAFLUSH if drop else termios.TCSANOW)
        yield
    finally:
        if before_continue is not None:
            signal.signal(signal.SIGCONT, before_continue)
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)
