"""Text that is quick to make and searches like real text: few words are everywhere, most are rare."""

from __future__ import annotations

import random
from itertools import accumulate

#: Words that searches look for, and in how many of a thousand messages they stand.
KNOWN = {"kubernetes": 500, "python": 40, "monads": 10, "heisenbug": 1}

_ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "ou")
_CODAS = ("", "", "n", "r", "s", "t", "l", "nd", "ck", "ng")
_FREQUENT = ("the", "of", "and", "to", "a", "in", "is", "it", "that", "for", "with", "as", "on", "be", "this", "you")
_WORDS = 20_000
_SENTENCES = 30_000


class TextGenerator:
    """Sentences of a made-up language with Zipf's distribution of words, drawn from a stock of them."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        words = [*_FREQUENT, *(self._word() for _ in range(_WORDS))]
        weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
        self._sentences = [self._sentence(words, weights) for _ in range(_SENTENCES)]

    def text(self, length: int) -> str:
        """Return about so many characters of text, with a word of :data:`KNOWN` as often as it says."""
        pick, pieces, size = self.random.random, [], 0
        while size < length:
            piece = self._sentences[int(pick() * _SENTENCES)]
            pieces.append(piece)
            size += len(piece) + 1
        pieces.extend(word for word, share in KNOWN.items() if pick() * 1000 < share)
        return " ".join(pieces)

    def _word(self) -> str:
        choose = self.random.choice
        return "".join(
            choose(_ONSETS) + choose(_VOWELS) + choose(_CODAS) for _ in range(self.random.choice((1, 2, 2, 3)))
        )

    def _sentence(self, words: list[str], weights: list[float]) -> str:
        chosen = self.random.choices(words, cum_weights=weights, k=self.random.randint(4, 16))
        return " ".join(chosen).capitalize() + self.random.choice((".", ".", ".", "?", "!"))
