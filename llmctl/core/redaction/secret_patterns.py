"""What providers' keys look like, so that one can be struck out of any text without knowing it."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# Each shape is (literal it begins with, pattern of the rest). Looking for the literal first keeps texts without any
# key cheap; patterns are compiled when their literal is met, not at start-up. Every pattern is linear: look-aheads
# are bounded and quantifiers never nest. A digit is asked for where prose, CSS classes and identifiers share the
# prefix ("sk-folding-cube", "hf_hub_download").
_DIGIT = r"(?=[\w-]{0,48}[0-9])"
_SHAPES = (
    ("sk-", _DIGIT + r"[\w-]{12,}"),
    ("csk-", _DIGIT + r"[\w-]{12,}"),
    ("gsk_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("xai-", _DIGIT + r"[\w-]{12,}"),
    ("pplx-", _DIGIT + r"[\w-]{12,}"),
    ("nvapi-", _DIGIT + r"[\w-]{12,}"),
    ("hf_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("fw_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("r8_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("tgp_v1_", _DIGIT + r"[\w-]{12,}"),
    ("sk_live_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("ghp_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("gho_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("ghs_", _DIGIT + r"[A-Za-z0-9]{12,}"),
    ("github_pat_", _DIGIT + r"\w{12,}"),
    ("glpat-", _DIGIT + r"[\w-]{12,}"),
    ("xoxb-", _DIGIT + r"[\w-]{12,}"),
    ("xoxp-", _DIGIT + r"[\w-]{12,}"),
    ("AIza", _DIGIT + r"[\w-]{24,}"),
    ("ya29.", _DIGIT + r"[\w-]{12,}"),
    ("AKIA", r"[A-Z0-9]{16}\b"),
    ("eyJ", r"[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
#: The same by a character that each of them has: it is found sooner than a word, and most texts lack it.
_MARKED = tuple(
    (mark, tuple(shape for shape in _SHAPES if next((m for m in "-_" if m in shape[0]), shape[0][0]) == mark))
    for mark in "-_Aye"
)
# Sixteen characters, or fewer with a digit: "bearer authentication" is prose.
_BEARER = r"([Bb]earer\s{1,4})(?:[\w.~+/=-]{16,}|(?=[\w.~+/=-]{0,48}[0-9])[\w.~+/=-]{6,})"


def mask_keys(text: str) -> str:
    """Replace whatever looks like a provider's key, or follows ``Bearer``, by ``[redacted]``."""
    found = [shape for mark, shapes in _MARKED if mark in text for shape in shapes if shape[0] in text]
    for prefix, rest in found:
        # Not within a word that merely ends in the prefix ("task-", "disk-").
        text = re.sub(f"{re.escape(prefix)}(?<![A-Za-z0-9]{re.escape(prefix)}){rest}", REDACTED, text)
    if "earer" in text:
        text = re.sub(_BEARER, rf"\1{REDACTED}", text)
    return text
