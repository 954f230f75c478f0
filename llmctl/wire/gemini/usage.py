"""Token counts of Gemini: thoughts beside the answer, what tools read beside the prompt.

https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.gemini.urls import version_of
from llmctl.wire.usage_numbers import count_of

_COUNTS = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
#: Modalities that have prices of their own, in our names of units.
_DETAILS = (
    ("promptTokensDetails", "input"),
    ("toolUsePromptTokensDetails", "input"),
    ("candidatesTokensDetails", "output"),
    ("cacheTokensDetails", "cached"),
)
_PRICED = {"AUDIO": "audio", "IMAGE": "image"}


def parse_usage(data: Mapping[str, Any], searches: int = 0) -> Usage | None:
    """Return the counts as llmctl means them: input with cached tokens, output with thinking; None for no counts.

    Vertex AI sends chunks whose usage says nothing but how it is billed. ``searches`` come on top of the tokens.
    """
    if not any(name in data for name in _COUNTS):
        return None
    thinking = count_of(data, "thoughtsTokenCount")
    input_tokens = count_of(data, "promptTokenCount") + count_of(data, "toolUsePromptTokenCount")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=count_of(data, "candidatesTokenCount") + thinking,
        cached_tokens=min(count_of(data, "cachedContentTokenCount"), input_tokens),
        thinking_tokens=thinking,
        details=_details(data) | ({"web_searches": searches} if searches else {}),
    )


def searches_of(grounding: dict[str, Any], model: str) -> int:
    """Return the searches that are billed: each since the third generation, before it one for all of a prompt.

    https://ai.google.dev/gemini-api/docs/google-search
    """
    queries = grounding.get("webSearchQueries")
    count = sum(map(bool, queries)) if isinstance(queries, list) else 0
    return count if version_of(model) >= (3, 0) else min(count, 1)


def _details(data: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for field, ours in _DETAILS:
        rows = data.get(field)
        if not isinstance(rows, list):
            continue
        for row in rows:
            kind = _PRICED.get(str(row.get("modality"))) if isinstance(row, dict) else None
            if kind and (count := count_of(row, "tokenCount")):
                unit = f"{ours}_{kind}_tokens"
                found[unit] = found.get(unit, 0) + count
    return found
