"""Patterns of provider keys, to mask keys that are not known in advance."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# Each shape is (literal prefix, pattern of the rest). Searching for the prefix first keeps texts without keys cheap;
# patterns are compiled when their prefix is found, not at start-up. Every pattern is linear: look-aheads are bounded
# and quantifiers never nest. A digit is required if prose, CSS classes or identifiers share the prefix
# ("sk-folding-cube", "hf_hub_download").
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
#: The shapes by a character that they contain: faster to find than a prefix, and missing from most texts.
_SHAPES_BY_MARK = tuple(
    (mark, tuple(shape for shape in _SHAPES if next((m for m in "-_" if m in shape[0]), shape[0][0]) == mark))
    for mark in "-_Aye"
)
# Sixteen characters, or fewer with a digit: "bearer authentication" is prose.
_BEARER = r"([Bb]earer\s{1,4})(?:[\w.~+/=-]{16,}|(?=[\w.~+/=-]{0,48}[0-9])[\w.~+/=-]{6,})"


def mask_keys(text: str) -> str:
    """Replace everything that looks like a provider key, or follows ``Bearer``, with ``[redacted]``."""
    present = [shape for mark, shapes in _SHAPES_BY_MARK if mark in text for shape in shapes if shape[0] in text]
    for prefix, rest in present:
        # Not inside a word that merely ends with the prefix ("task-", "disk-").
        text = re.sub(f"{re.escape(prefix)}(?<![A-Za-z0-9]{re.escape(prefix)}){rest}", REDACTED, text)
    if "earer" in text:
        text = re.sub(_BEARER, rf"\1{REDACTED}", text)
    return text
