"""What only a terminal needs: harmless text, its width on the screen, colour, relative times."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

#: Control characters are shown, not obeyed: ESC as its picture, C1 and what reorders text as U+FFFD.
_SHOWN = (
    {code: 0x2400 + code for code in range(0x20)}
    | {0x7F: 0x2421}
    | dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
)
_SHOWN_TEXT = {code: shown for code, shown in _SHOWN.items() if code not in (0x09, 0x0A)}
_ONE_LINE = _SHOWN | {0x09: " ", 0x0A: " ", 0x0D: None}

_JSON_ESCAPES = {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}

_STEPS = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (86400 * 30, 86400, "d"))

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def safe_text(text: str) -> str:
    """Return text that cannot steer the terminal; lines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_SHOWN_TEXT)


def safe_json(text: str) -> str:
    """Return JSON that says the same and cannot steer the terminal: it may hold C1 controls as they are."""
    return text.translate(_JSON_ESCAPES)


def safe_line(text: str) -> str:
    """Return text that cannot steer the terminal, on one line."""
    return text.translate(_ONE_LINE)


def has_colour(env: Mapping[str, str], is_terminal: bool) -> bool:
    """Tell whether to colour: a terminal that can, and no ``NO_COLOR`` (https://no-color.org)."""
    return is_terminal and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def coloured(text: str, colour: str) -> str:
    """Return text in a colour; an empty text stays empty."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if text else text


def columns(env: Mapping[str, str], stream: Any) -> int:
    """Return the width of the terminal behind a stream: ``COLUMNS``, what it says itself, or 80."""
    if env.get("COLUMNS", "").isdecimal() and int(env["COLUMNS"]) > 0:
        return int(env["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def width(text: str) -> int:
    """Return how many cells a text takes on the screen."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # only for texts beyond ASCII

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, cells: int) -> str:
    """Return a text that takes at most so many cells, with ``…`` where something went."""
    if width(text) <= cells:
        return text
    while text and width(text) > cells - 1:
        text = text[: min(len(text) - 1, cells - 1)]
    return text.rstrip() + "…"


def ago(stored: str, now: float | None = None) -> str:
    """Return a stored time as seen from now: ``5 s ago``, ``2 h ago``, ``in 3 d``; the date beyond 30 days."""
    from llmctl.core.clock import parsed

    seconds = (time.time() if now is None else now) - parsed(stored).timestamp()
    for limit, unit, name in _STEPS:
        if abs(seconds) < limit:
            count = int(abs(seconds) / unit)
            return f"{count} {name} ago" if seconds >= 0 else f"in {count} {name}"
    return stored[:10]
