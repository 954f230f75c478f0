"""What people type into a search, as a full-text query and as literal conditions. Never a syntax error.

The index knows words: runs of letters and digits. So ``foo-bar`` becomes the phrase "foo bar"; where signs
matter (``c++``, ``#42``), or where writing has no spaces between words, the text itself is looked at too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PIECES = re.compile(r'"([^"]*\w[^"]*)"|(\S+)')
#: Punctuation of sentences, which nobody means to search for.
_SENTENCE = ".,;:!?…"
#: Thai to Khmer, kana, Han, Hangul: words without spaces around them, which the index does not part.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
#: LIKE knows the case of ASCII alone.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


class Query(NamedTuple):
    """``match`` is in FTS5's language, or None where no word can be looked up; ``literals`` must be in the text."""

    match: str | None
    literals: tuple[str, ...]


def parsed(text: str) -> Query:
    """Read plain text: every word must be there, the last one may go on; ``"..."`` is a phrase."""
    phrases: list[str] = []
    literals: list[str] = []
    may_go_on = False
    for quoted, bare in _PIECES.findall(text.replace("\0", " ")):
        piece = quoted or _word(bare)
        indexed = _has_word(piece) and not _UNSPACED.search(piece)
        if indexed:
            phrases.append('"' + piece.replace('"', '""') + '"')
        if not indexed or not all(character.isalnum() or character.isspace() for character in piece):
            literals.append(piece)
        may_go_on = indexed and bool(bare) and len(piece) > 1 and piece[-2:].isalnum()
    match = " ".join(phrases) + ("*" if may_go_on else "")
    return Query(match or None, tuple(literals))


def like(literal: str) -> str:
    """Return the pattern for LIKE (with ``\\`` as its escape) that finds a literal, whatever its letters' case.

    The text's ``’`` has to be made ``'`` before: people's apostrophes are not their editors'.
    """
    pattern = re.sub(r"([\\%_])", r"\\\1", literal.replace("’", "'"))
    if _has_word(literal) and not _UNSPACED.search(literal):
        pattern = _BEYOND_ASCII.sub("_", pattern)
    return f"%{pattern}%"


def _word(text: str) -> str:
    """Return a word without the punctuation of its sentence; signs alone stay as they are."""
    stripped = text.rstrip(_SENTENCE)
    return stripped if _has_word(stripped) else text


def _has_word(text: str) -> bool:
    return any(character.isalnum() for character in text)
