"""Fenced blocks of Markdown."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<block>.*?)^(?P=fence)[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)


def find_fenced_block(text: str) -> str | None:
    """Return the content of the first fenced block, without the fences; None if there is none."""
    match = _FENCE.search(text)
    return match["block"] if match else None
