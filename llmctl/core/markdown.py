"""Fenced blocks of Markdown: where answers put what is meant to be used."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<block>.*?)^(?P=fence)[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)


def first_block(text: str) -> str | None:
    """Return what stands in the first fenced block, without the fences; None where there is none."""
    found = _FENCE.search(text)
    return found["block"] if found else None
